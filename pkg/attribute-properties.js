// @ts-check
import { ATTRIBUTES, propertyOf } from "./attributes.js";

/** @typedef {import("./attributes.js").Attribute} Attribute */

/** Modules are also loaded where there is no DOM. @type {typeof HTMLElement} */
const Base = globalThis.HTMLElement ?? /** @type {any} */ (class {});

/** An element with a property for each of `ATTRIBUTES`. A subclass hears of changes by its method `changed(name)`. */
export class ElementWithProperties extends Base {
  static observedAttributes = ATTRIBUTES.map(({ name }) => name);

  /** Values of properties that no attribute can hold, by the attribute's name: an image, a model, several layers. */
  /** @type {Record<string, unknown>} */
  #objects = {};

  /** The reflected properties, by name. @returns {Record<string, unknown>} */
  get #properties() {
    return /** @type {any} */ (this);
  }

  static {
    for (const attribute of ATTRIBUTES) {
      Object.defineProperty(this.prototype, propertyOf(attribute.name), {
        /** @this {ElementWithProperties} */
        get() {
          return this.#get(attribute);
        },
        /** @this {ElementWithProperties} @param {unknown} value */
        set(value) {
          this.#set(attribute, value);
        },
        enumerable: true,
        configurable: true,
      });
    }
  }

  /** Properties that were set before this class was defined. @type {Map<string, unknown>} */
  #early = new Map();

  constructor() {
    super();
    // They hide the accessors, and attributes are told of before the element is connected. Scripts that set a property to
    // itself leave undefined there.
    for (const { name } of ATTRIBUTES) {
      const property = propertyOf(name);
      if (!Object.hasOwn(this, property)) continue;
      const value = this.#properties[property];
      if (value !== undefined) this.#early.set(property, value);
      delete this.#properties[property];
    }
  }

  connectedCallback() {
    for (const [property, value] of this.#early) this.#properties[property] = value;
    this.#early.clear();
  }

  /** @param {string} _name the attribute that changed, or whose property did */
  changed(_name) {}

  /** @param {string} name @param {string | null} old @param {string | null} value */
  attributeChangedCallback(name, old, value) {
    if (old === value) return;
    this.#objects[name] = undefined;
    this.changed(name);
  }

  /** @param {Attribute} attribute */
  #get({ name, default: initial, values, isLimited }) {
    if (this.#objects[name] !== undefined) return this.#objects[name];
    if (initial === false) return this.hasAttribute(name);
    const text = this.getAttribute(name);
    if (text === null || (isLimited && !values?.includes(text))) return initial ?? null;
    return typeof initial === "number" ? Number(text) : text;
  }

  /** @param {Attribute} attribute @param {unknown} value */
  #set({ name, default: initial, holdsObjects }, value) {
    if (initial === false) {
      this.toggleAttribute(name, Boolean(value));
    } else if (holdsObjects && typeof value === "object" && value !== null && !(value instanceof URL)) {
      this.removeAttribute(name);
      this.#objects[name] = value;
      this.changed(name);
    } else if (value === null || value === undefined) {
      const had = this.#objects[name] !== undefined;
      this.#objects[name] = undefined;
      this.removeAttribute(name);
      if (had) this.changed(name);
    } else {
      this.setAttribute(name, String(value));
    }
  }
}
