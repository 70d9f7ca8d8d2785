// What this browser keeps between visits: own networks if the user says so, and what was open in this tab.

const NAME = "gradcam-web";
const STORES = ["models", "tabs"];

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function transact(name, mode, work) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(name, mode);
      const result = work(transaction.objectStore(name));
      transaction.oncomplete = () => resolve(result?.());
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** @param {"models" | "tabs"} name @param {string} key @param {any} value */
export function store(name, key, value) {
  return transact(name, "readwrite", (objects) => void objects.put(value, key));
}

/** @param {"models" | "tabs"} name @param {string} key */
export function removeStored(name, key) {
  return transact(name, "readwrite", (objects) => void objects.delete(key));
}

/** Everything in it. @returns {Promise<[string, any][]>} */
export function readStore(name) {
  return transact(name, "readonly", (objects) => {
    const [keys, values] = [objects.getAllKeys(), objects.getAll()];
    return () => keys.result.map((key, i) => [String(key), values.result[i]]);
  }).catch(() => []);
}

/**
 * Keeps an own network for later visits, in place of what has its name.
 * @param {string} name @param {import("./own.js").OwnModel} own
 */
export async function keepNetwork(name, own) {
  await store("models", name, own);
  tell({ id: own.id, isKept: true });
}

/**
 * Takes a network away, also from what tabs would have after a reload.
 * @param {string} name @param {import("./own.js").OwnModel} own
 */
export async function removeNetwork(name, { id }) {
  await removeStored("models", name);
  tell({ id, isKept: false });
  for (const [key, left] of await readStore("tabs")) {
    if (left.own && left.own.id === id) await store("tabs", key, { ...left, own: undefined });
  }
}

/** Hears of each network that this browser keeps or no longer keeps, whichever tab asked for it. @param {(change: { id: string, isKept: boolean }) => void} listener */
export function onNetworks(listener) {
  new BroadcastChannel(NAME).addEventListener("message", ({ data }) => listener(data));
}

/** Tells all tabs, this one too. */
function tell(change) {
  const channel = new BroadcastChannel(NAME);
  channel.postMessage(change);
  channel.close();
}
