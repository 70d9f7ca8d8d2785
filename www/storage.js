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

/** Takes a network away from what tabs had open. @param {import("./own.js").OwnModel} own */
export async function forgetNetwork({ file }) {
  const isSame = (own) => own?.file?.name === file?.name && own?.file?.size === file?.size;
  for (const [key, kept] of await readStore("tabs")) {
    if (kept.own && isSame(kept.own)) await store("tabs", key, { ...kept, own: undefined });
  }
}
