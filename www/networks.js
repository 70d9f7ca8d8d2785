// Which network looks at the picture: the chooser, own files, what is known of it, and how pictures are prepared for it.

import { DEFAULT_MODEL, MODELS, loadModel } from "./gradcam-web/api.js";
import { PREPROCESS } from "./gradcam-web/catalog.js";
import { $, create } from "./dom.js";
import { facts, insideFacts } from "./format.js";
import { insideOf } from "./inside.js";
import { hideMessages, hideProgress, showError, showProgress } from "./messages.js";
import { sourceOf, tellOf } from "./own.js";
import { keepNetwork, onNetworks, readStore, removeNetwork } from "./storage.js";

/** The option that asks for a file. */
const FILE = "file:";
const KEPT = "kept:";

export class Networks {
  #settings;
  #picture;
  #on;
  /** @type {AbortController | undefined} */ #loading;
  /** How much of that came. */ #fraction = 0;
  /** The network in use. @type {import("gradcam-web").Model | undefined} */ model;
  /** The settings by which it was loaded. */
  #settled = { own: undefined, model: undefined, backend: "auto" };
  /** What was chosen of it: the settings may speak of another network, which is on its way. */
  #chosen = choiceOf({});
  /** Own networks that this browser keeps. @type {Map<string, import("./own.js").OwnModel>} */
  #kept = new Map();

  /**
   * @param {import("./store.js").Store} settings @param {import("gradcam-web").GradCamElement} picture
   * @param {{ network: (model: import("gradcam-web").Model) => void, forget: () => void }} on
   */
  constructor(settings, picture, on) {
    this.#settings = settings;
    this.#picture = picture;
    this.#on = on;
    settings.watch((state, before, returned) => {
      if (isSameLoad(state, before)) {
        if (this.model) this.#chosen = choiceOf(state);
        return;
      }
      if (isSameLoad(state, this.#settled) && !returned && this.model) this.#stay();
      else void this.load(before);
    });
    $("network").addEventListener("change", ({ target: { value } }) => this.#choose(value));
    $("backend-choice").addEventListener("change", ({ target }) => settings.set({ backend: target.value }));
    $("default-model").addEventListener("click", () => this.use({}));
    $("keep-model").addEventListener("click", () => this.#keepOrRemove());
    $("imagenet-names").addEventListener("click", () => this.#takeNames());
    $("prepare-form").addEventListener("change", () => this.#prepare());
    $("prepare-form").addEventListener("submit", (event) => event.preventDefault());
    $("save-manifest").addEventListener("click", () => this.#saveManifest());
    $("inside").addEventListener("toggle", () => this.#look());
    onNetworks(() => void this.showKept());
  }

  /** Another network: own files, or an address. What was chosen of the one before means nothing to it. */
  use({ own, model }) {
    hideMessages();
    this.#settings.set({ own, model, ...choiceOf({}) }, { step: true });
  }

  /** Names and preprocessing for the network that was named last: nothing that was chosen of it changes its meaning. */
  refine(change) {
    hideMessages();
    const { own, model } = this.#settings.state;
    const base = own ?? { address: new URL(model ?? DEFAULT_MODEL, document.baseURI).href };
    this.#settings.set({ own: { ...base, ...change } });
  }

  /** The same for the network in use, though another one may be on its way: who looks at the one means that. */
  #refineUsed(change) {
    if (!isSameNetwork(this.#settings.state, this.#settled)) this.#settings.set({ ...this.#settled, ...this.#chosen });
    this.refine(change);
  }

  /** Shows how much came of the one that is on its way, if there is one. */
  tellProgress() {
    if (this.#loading?.signal.aborted === false) showProgress("Getting the network ready", this.#fraction);
    else hideProgress();
  }

  /** Sees to it that there is a network, or one on its way: the first may have failed. */
  want() {
    if (!this.model && this.#loading?.signal.aborted) void this.load();
  }

  /**
   * Loads the network that the settings name. Until it is there, and if it can't be had, the one before stays, with what
   * was chosen of it.
   */
  async load(before = {}) {
    this.#loading?.abort();
    const { signal } = (this.#loading = new AbortController());
    const { own, model: address, backend } = this.#settings.state;
    const wanted = { own, model: address, backend };
    const choice = choiceOf(this.#settings.state);
    const report = (fraction) => {
      if (signal.aborted) return;
      this.#fraction = fraction;
      showProgress("Getting the network ready", fraction);
    };
    report(0);
    const { source, options } = own ? sourceOf(own) : { source: address ?? DEFAULT_MODEL, options: {} };
    const promise = loadModel(source, { ...options, backend, onProgress: report, signal });
    // The first network: a photo may already be waiting for it.
    if (!this.model) this.#picture.model = promise;
    try {
      const loaded = await promise;
      if (signal.aborted) return loaded.dispose();
      const previous = this.model;
      // What was chosen meanwhile was chosen of another network.
      const isOther = previous && !isSameNetwork(wanted, this.#settled);
      const isStale = Object.keys(choice).some((name) => choice[name] !== this.#settings.state[name]);
      if (isOther && isStale) this.#settings.set(choice);
      this.model = loaded;
      this.#loading = undefined;
      this.#settled = wanted;
      this.#chosen = choiceOf(this.#settings.state);
      if (previous) {
        this.#picture.model = loaded;
        this.#on.forget();
        previous.dispose();
      }
      this.#show();
      if (own !== before.own && own?.id && own.id === before.own?.id) void this.#renew(own);
      // By then the GPU may have taken over.
      void loaded.settled.then(() => this.model === loaded && this.#tellEngine());
      if (!this.#picture.src) hideProgress();
    } catch (error) {
      if (signal.aborted) return;
      // What is still on its way has no progress to show any more.
      this.#loading?.abort();
      const isDefault = !own && !address && backend === "auto";
      this.#settings.set({ ...this.#settled, ...this.#chosen });
      // What lies beside a network is handed over as the call's options: to a person it is part of the network.
      const name = own && error.name === "TargetError" ? "ModelError" : error.name;
      // What has to come over the network may come the next time.
      const canRetry = error.name === "DeviceError" || (!own?.file && error.name !== "TargetError");
      const retry = canRetry && (() => (isDefault ? void this.load() : this.#settings.set({ ...wanted, ...choice })));
      showError({ name, ...(own ? tellOf(own, error.message) : { message: error.message }) }, { retry });
    }
  }

  /** Its times, once there are some. @param {import("gradcam-web").Explanation} explanation */
  explained(explanation) {
    this.#tellEngine(explanation);
  }

  /** Goes on with the network that is there. */
  #stay() {
    this.#loading?.abort();
    this.#chosen = choiceOf(this.#settings.state);
    hideProgress();
    this.#list();
    this.#fillForm();
  }

  select({ backend }) {
    $("backend-choice").value = backend;
  }

  /** Own networks of earlier visits. */
  async showKept() {
    // Those of earlier versions have no id.
    const identified = ([name, own]) => [name, { id: `${name}, ${own.file?.size} bytes`, ...own }];
    this.#kept = new Map((await readStore("models")).map(identified));
    this.#list();
  }

  #show() {
    const { own, model } = this.#settings.state;
    $("default-model").hidden = !own && !model;
    this.#list();
    this.#fillForm();
    void this.#look();
    this.#on.network(this.model);
    this.#tellEngine();
  }

  #tellEngine(explanation) {
    const { model } = this;
    $("backend").dataset.backend = model.backend;
    $("backend-name").textContent = model.backend === "webgpu" ? "WebGPU" : "CPU";
    $("backend-reason").textContent = model.backendReason;
    $("facts").replaceChildren(...facts(model, explanation).flatMap(asTerms));
  }

  /** What is in its file, for those who open it: that takes the file once more. */
  async #look() {
    $("inside-facts").replaceChildren();
    if (!$("inside").open || !this.model) return;
    const { model } = this;
    let rows;
    try {
      const file = await this.#file();
      const bytes = new Uint8Array(await file.arrayBuffer());
      rows = insideFacts(bytes.length, insideOf(bytes), model);
    } catch (error) {
      rows = [["File", `It can't be read once more: ${error.message}`]];
    }
    if (model === this.model) $("inside-facts").replaceChildren(...rows.flatMap(asTerms));
  }

  /** The ONNX file of the network in use. @returns {Promise<Blob>} */
  async #file() {
    const { own, model } = this.#settled;
    if (own?.file) return own.file;
    let address = new URL(own?.address ?? model ?? DEFAULT_MODEL, document.baseURI);
    const fetched = async () => {
      const response = await fetch(address);
      if (!response.ok) throw new Error(`${address} answers ${response.status}`);
      return response;
    };
    if (!/\.json$/i.test(address.pathname)) return (await fetched()).blob();
    const { file } = await (await fetched()).json();
    address = new URL(file, address);
    return (await fetched()).blob();
  }

  // The chooser.

  #list() {
    const { own, model } = this.#settings.state;
    const addressOf = (text) => new URL(text, document.baseURI).href;
    const shipped = model ? MODELS.find(({ url }) => url === addressOf(model)) : own ? undefined : MODELS[0];
    const options = MODELS.map(({ name, title }) => new Option(title, name, false, shipped?.name === name));
    const keptName = this.#keptName(own);
    for (const name of this.#kept.keys()) options.push(new Option(name, KEPT + name, false, name === keptName));
    if (!options.some(({ selected }) => selected) && this.model) {
      options.push(new Option(this.model.name ?? "Your own", "", true, true));
    }
    options.push(new Option("Your own model …", FILE));
    $("network").replaceChildren(...options);
    const used = this.#settled.own;
    $("keep-model").hidden = !used || Boolean(used.address);
    $("keep-model").textContent = this.#keptName(used) ? "Remove it from this browser" : "Keep it in this browser";
  }

  #choose(value) {
    const { name, url } = MODELS.find(({ name }) => name === value) ?? {};
    if (value === FILE) {
      this.#list();
      document.querySelector("[data-action=choose-model]").click();
    } else if (value.startsWith(KEPT)) {
      this.use({ own: this.#kept.get(value.slice(KEPT.length)) });
    } else if (name) {
      this.use({ model: name === MODELS[0].name ? undefined : relative(url) });
    }
  }

  async #keepOrRemove() {
    const { own } = this.#settled;
    const name = this.#keptName(own);
    try {
      if (name) await removeNetwork(name, own);
      else await keepNetwork(this.#free(this.model.name ?? own.file?.name ?? "Your own"), own);
    } catch (error) {
      showError({ name: "ModelError", message: `The browser does not keep it: ${error.message}` });
    }
    await this.showKept();
  }

  /** Keeps what a network that is kept got since: names, preprocessing. */
  async #renew(own) {
    const name = this.#keptName(own);
    if (name) await keepNetwork(name, own).catch(() => {});
  }

  /** The name by which this browser keeps a network, if it does. */
  #keptName(own) {
    return [...this.#kept].find(([, kept]) => own && kept.id === own.id)?.[0];
  }

  /** A name that no other kept network has. */
  #free(name) {
    for (let count = 2, free = name; ; free = `${name} (${count++})`) if (!this.#kept.has(free)) return free;
  }

  async #takeNames() {
    try {
      const response = await fetch(new URL("labels.json", MODELS.find(({ classes }) => classes === 1000).url));
      this.#refineUsed({ labels: await response.json(), labelsName: undefined });
    } catch (error) {
      showError({ name: "ModelError", message: `The names can't be had: ${error.message}` });
    }
  }

  // How pictures are prepared.

  #fillForm() {
    const { elements } = $("prepare-form");
    const { width, height, resize, mean, std, order } = this.model.preprocess;
    for (const [name, value] of Object.entries({ width, height, resize, order })) elements[name].value = value;
    elements.mean.value = mean.join(", ");
    elements.std.value = std.join(", ");
    $("prepare-error").textContent = "";
    // A guess is to be looked at.
    $("preparing").open ||= this.model.preprocessGuessed;
  }

  #prepare() {
    const { elements } = $("prepare-form");
    const numbers = (name) =>
      elements[name].value
        .split(/[\s,;]+/)
        .filter(Boolean)
        .map(Number);
    const [mean, std] = [numbers("mean"), numbers("std")];
    const { channels } = this.model.input;
    const wrong = Object.entries({ mean, std }).find(
      ([, values]) => ![1, channels].includes(values.length) || values.some((value) => !Number.isFinite(value)),
    );
    if (wrong || std.includes(0)) {
      const name = wrong?.[0] === "mean" ? "Mean" : "Deviation";
      $("prepare-error").textContent =
        `${name}: one number, or ${channels} with commas between them${name === "Deviation" ? ", none of them 0" : ""}.`;
      return;
    }
    const [width, height] = [elements.width.valueAsNumber, elements.height.valueAsNumber];
    if (![width, height].every((side) => Number.isInteger(side) && side > 0 && side <= PREPROCESS.maxSide)) {
      $("prepare-error").textContent = `Width and height: whole pixels from 1 to ${PREPROCESS.maxSide}.`;
      return;
    }
    $("prepare-error").textContent = "";
    this.#refineUsed({
      preprocess: { width, height, resize: elements.resize.value, mean, std, order: elements.order.value },
    });
  }

  /** What a next visitor needs beside the file, to be put next to it. */
  #saveManifest() {
    const { own, model: address } = this.#settled;
    const { name, preprocess, labels, defaultLayer } = this.model;
    const file = own?.file?.name ?? (own?.address ?? address ?? "").split("/").pop();
    const manifest = { name: name ?? file, file, preprocess, labels, targetLayer: defaultLayer };
    const blob = new Blob([`${JSON.stringify(manifest, null, 2)}\n`], { type: "application/json" });
    const anchor = create("a", { href: URL.createObjectURL(blob), download: "model.json" });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
  }
}

/** What is chosen of a network. @param {Partial<import("./store.js").Settings>} settings */
function choiceOf({ class: targetClass, layer, "rather-than": rival }) {
  return { class: targetClass, layer, "rather-than": rival };
}

/** Whether two settings ask for the same network, described in the same way and on the same backend. */
function isSameLoad(one, other) {
  return one.own === other.own && one.model === other.model && one.backend === other.backend;
}

/** Whether two settings name the same network, however it is described and wherever it runs. */
function isSameNetwork(one, other) {
  const addressOf = ({ own, model }) =>
    own?.file ?? new URL(own?.address ?? model ?? DEFAULT_MODEL, document.baseURI).href;
  return addressOf(one) === addressOf(other);
}

function asTerms([term, value, attention]) {
  return [
    create("dt", { textContent: term }),
    create("dd", { textContent: value, className: attention ? "attention" : "" }),
  ];
}

/** As it is written into a link: relative to the page where it lies below it. */
function relative(address) {
  const here = new URL(".", document.baseURI).href;
  return address.startsWith(here) ? address.slice(here.length) : address;
}
