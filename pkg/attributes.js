// @ts-check
// The attributes of `<grad-cam>`: the one table from which the element makes its properties, and `cargo xtask codegen` the
// types, the element's manifest and the README's list.

import { COLORMAPS, METHODS, DEFAULT_STYLE, TARGETS } from "./catalog.js";
import { BACKENDS } from "./backend.js";
import { OPACITIES } from "./view.js";

/**
 * @typedef {object} Attribute
 * @property {string} name as in HTML; the property has the same name in camelCase
 * @property {string} description
 * @property {"model" | "image" | "explain"} [stage] what a change makes the element do again, and everything after it;
 *   without a stage the picture is only drawn again
 * @property {string | number | boolean} [default] the property's value without the attribute, else null; false makes it a
 *   boolean attribute
 * @property {string} [fallback] what the element takes without the attribute, in words, where there is no `default`
 * @property {readonly string[]} [values] all values that the attribute accepts
 * @property {boolean} [isLimited] other values count as the default; without it they are refused by name
 * @property {boolean} [holdsObjects] the property also takes what no attribute can hold, and gives it back as it is
 * @property {string} [type] of the property, in TypeScript, where the rest does not tell
 * @property {string} [accepts] the type that the property is set to, where it is not the one that it has
 */

/** @type {readonly Attribute[]} in the order in which to list them */
export const ATTRIBUTES = Object.freeze([
  {
    name: "src",
    stage: "image",
    holdsObjects: true,
    type: "ImageSource | null",
    fallback: "what the slotted `img` shows",
    description: "Address of the image; the property takes every image that `classify` takes.",
  },
  { name: "alt", default: "", fallback: "that of the slotted `img`", description: "The image's text alternative." },
  {
    name: "model",
    stage: "model",
    holdsObjects: true,
    type: "string | Model | Promise<Model> | null",
    accepts: "string | URL | Model | Promise<Model> | null",
    fallback: "the model that comes with the package",
    description: "Address of a manifest or an ONNX file; the property also takes a loaded model.",
  },
  {
    name: "labels",
    stage: "model",
    fallback: "the model's",
    description: "Address of a text or JSON file with the names of the model's classes.",
  },
  {
    name: "method",
    stage: "explain",
    default: "grad-cam",
    values: METHODS.map(({ name }) => name),
    type: "Method",
    description: "How the class activation map is computed.",
  },
  {
    name: "target-class",
    stage: "explain",
    accepts: "string | number | null",
    fallback: "the top class",
    description: "Index or label of the class to explain.",
  },
  {
    name: "target-layer",
    stage: "explain",
    holdsObjects: true,
    type: "string | string[] | null",
    fallback: "the model's",
    description: "Name of the target layer; the property also takes several.",
  },
  {
    name: "target",
    stage: "explain",
    default: "score",
    values: TARGETS,
    type: "Target",
    description: "What to explain about the class.",
  },
  {
    name: "rather-than",
    stage: "explain",
    accepts: "string | number | null",
    description: "Index or label of another class: why the target class rather than this one.",
  },
  {
    name: "aug-smooth",
    stage: "explain",
    default: false,
    description: "The mean over mirrored, weaker and stronger inputs: smoother, six times the work.",
  },
  {
    name: "eigen-smooth",
    stage: "explain",
    default: false,
    description: "The main direction of the weighted channels instead of their sum: less noise.",
  },
  {
    name: "colormap",
    default: DEFAULT_STYLE.colormap,
    values: COLORMAPS,
    type: "Colormap",
    description: "The colours of the heatmap.",
  },
  { name: "opacity", default: DEFAULT_STYLE.opacity, description: "0 shows the image alone, 1 the colormap alone." },
  {
    name: "opacity-by",
    default: "uniform",
    values: OPACITIES,
    type: '"uniform" | "value"',
    description: "`value`: the opacity grows with the heatmap, from 0 to `opacity`.",
  },
  {
    name: "threshold",
    default: DEFAULT_STYLE.threshold,
    description: "Where the heatmap is below it, 0 to 1, the image stays as it is.",
  },
  { name: "contours", default: false, description: "Draws lines around what reaches the threshold, 0.2 without one." },
  { name: "boxes", default: false, description: "Draws boxes around what reaches the threshold, 0.2 without one." },
  {
    name: "caption",
    default: false,
    description: "Shows a line under the picture: what was asked and what came, and the method.",
  },
  {
    name: "width",
    accepts: "string | number | null",
    fallback: "that of the slotted `img`",
    description: "How wide the picture is on the page at most, in CSS pixels, or a share of the room such as `50%`.",
  },
  {
    name: "height",
    accepts: "string | number | null",
    fallback: "that of the slotted `img`",
    description: "With `width`, the shape that is kept free until the picture is there.",
  },
  {
    name: "backend",
    stage: "model",
    default: "auto",
    values: BACKENDS,
    type: '"auto" | Backend',
    description:
      "What the network runs on; `auto` takes WebGPU where a real graphics card computes correctly and faster than the CPU; on iOS the CPU.",
  },
  {
    name: "loading",
    default: "lazy",
    values: ["lazy", "eager"],
    isLimited: true,
    type: '"lazy" | "eager"',
    description: "`lazy` waits until the element comes near the window.",
  },
  { name: "controls", default: false, description: "Shows the class list, the method and the opacity." },
]);

/** The property of an attribute: `target-class` gives `targetClass`. @param {string} name */
export function propertyOf(name) {
  return name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
}
