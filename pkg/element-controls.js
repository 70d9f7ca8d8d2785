import { METHODS } from "./catalog.js";

/** How many classes are listed. */
const CLASSES = 5;

/** @param {string} tag @param {object} [properties] @param {...(Node | string)} children */
export function create(tag, { part, attributes = {}, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  if (part) node.setAttribute("part", part);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** What `controls` shows: the classes, the method and the opacity. It changes nothing but the element's own attributes. */
export class Controls {
  #host;
  #classes = create("ol", { part: "classes" });
  #method = create("select", { part: "method" });
  #opacity = create("input", { part: "opacity", type: "range", min: "0", max: "1", step: "0.01" });
  #peek = create("button", { part: "peek", type: "button" });
  #words = { method: create("span"), opacity: create("span") };

  /** @param {import("./element.js").GradCamElement} host */
  constructor(host) {
    this.#host = host;
    this.#method.append(...METHODS.map(({ name, title }) => create("option", { value: name }, title)));
    this.#method.addEventListener("change", () => (host.method = this.#method.value));
    this.#opacity.addEventListener("input", () => (host.opacity = this.#opacity.valueAsNumber));
    holdable(this.#peek, (held) => host.showOriginal(held));
    this.root = create(
      "div",
      { part: "controls" },
      this.#classes,
      create(
        "div",
        { part: "settings" },
        create("label", {}, this.#words.method, this.#method),
        create("label", {}, this.#words.opacity, this.#opacity),
        this.#peek,
      ),
    );
  }

  /** Shows the element's present state. */
  update() {
    const { prediction, explanation, method, opacity } = this.#host;
    this.#method.value = method;
    this.#opacity.valueAsNumber = opacity;
    this.#translate();
    if (!prediction) return this.#reserve();
    if (this.#classes.inert) {
      this.#classes.inert = false;
      this.#classes.replaceChildren();
    }
    const rows = prediction.top(CLASSES);
    const target = explanation?.targetClass;
    if (target !== undefined && !rows.some(({ index }) => index === target)) {
      rows.push({
        index: target,
        label: prediction.model.labels[target],
        probability: prediction.probabilities[target],
      });
    }
    // Rows are kept, so that the one with the focus does not lose it.
    while (this.#classes.children.length > rows.length) this.#classes.lastElementChild.remove();
    while (this.#classes.children.length < rows.length) this.#classes.append(this.#createRow());
    rows.forEach(({ index, label, probability }, i) => {
      const row = this.#classes.children[i].firstElementChild;
      const [name, number, bar] = row.children;
      row.value = index;
      row.title = label;
      row.setAttribute("aria-pressed", String(index === target));
      name.textContent = label;
      number.textContent = this.#host.percent(probability);
      bar.style.setProperty("--_probability", probability);
    });
  }

  #translate() {
    const say = (words) => this.#host.say(words);
    this.#classes.setAttribute("aria-label", say("Classes"));
    this.#words.method.textContent = `${say("Method")} `;
    this.#words.opacity.textContent = `${say("Opacity")} `;
    this.#peek.textContent = say("Original");
    this.#peek.title = say("Hold to see the image alone");
  }

  /** Keeps the room of the classes, so that what follows on the page stays where it is. */
  #reserve() {
    if (this.#classes.inert && this.#classes.children.length === CLASSES) return;
    this.#classes.inert = true;
    this.#classes.replaceChildren(...Array.from({ length: CLASSES }, () => this.#createRow()));
    for (const row of this.#classes.children) row.firstElementChild.firstElementChild.textContent = "\u00a0";
  }

  #createRow() {
    const row = create(
      "button",
      { part: "class", type: "button" },
      create("span", { part: "class-label" }),
      create("span", { part: "class-probability" }),
      create("span", { part: "class-bar", attributes: { "aria-hidden": "true" } }),
    );
    row.addEventListener("click", () => (this.#host.targetClass = Number(row.value)));
    return create("li", {}, row);
  }
}

/**
 * Calls `onHold(true)` while a button is held down, by pointer or key, and `onHold(false)` after.
 * @param {HTMLElement} button @param {(held: boolean) => void} onHold
 * @param {number} [delay] how long a press of the pointer is a click and no hold, in milliseconds
 */
export function holdable(button, onHold, delay = 0) {
  let held = false;
  let waiting;
  const set = (value) => {
    clearTimeout(waiting);
    if (held !== value) onHold((held = value));
  };
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    if (delay > 0) waiting = setTimeout(set, delay, true);
    else set(true);
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"])
    button.addEventListener(type, () => set(false));
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    set(true);
  });
  button.addEventListener("keyup", () => set(false));
  // A finger's long press opens the menu, too; a mouse has a button for it, and the picture can be saved by it.
  button.addEventListener("contextmenu", (event) => {
    if (event.pointerType === "touch" || event.pointerType === "pen") event.preventDefault();
  });
}
