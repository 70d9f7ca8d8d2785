// What happens on the page's own thread: numbers of a heatmap, and drawing. A small wasm of its own makes them synchronous.

import { assetUrl } from "./assets.js";
import { DEFAULT_STYLE } from "./catalog.js";
import { GradCamError, asGradCamError } from "./errors.js";

/** @type {typeof import("./view/gradcam_web.js") | undefined} */
let glue;
/** @type {Promise<void> | undefined} */
let loading;

/** Loads the drawing code, once for the page. */
export function loadView() {
  loading ??= import("./view/gradcam_web.js")
    .then(async (module) => {
      const beside = new URL("./view/gradcam_web_bg.wasm", import.meta.url);
      await module.default({ module_or_path: assetUrl("view/gradcam_web_bg.wasm", beside) });
      glue = module;
      // Without it all goes well, too.
      warmUp().catch(() => {});
    })
    .catch((cause) => {
      loading = undefined;
      throw new GradCamError("DeviceError", `The drawing code can't be loaded: ${cause.message}`, { cause });
    });
  return loading;
}

/** How often a small picture is drawn before the first real one, and its side in pixels. */
const WARM_UP = { draws: 12, side: 192 };

/**
 * Draws pictures that nobody sees, while there is nothing else to draw: browsers begin with slow code for wasm and
 * optimise what has run for a while, and the first photo on a page is the one that counts.
 */
async function warmUp() {
  if (typeof OffscreenCanvas === "undefined") return;
  const { draws, side } = WARM_UP;
  const explained = {
    picture: { width: side, height: side, rgba: new Uint8Array(4 * side * side) },
    rect: Float64Array.of(0, 0, side, side),
    map: { width: 3, height: 3, values: Float32Array.from({ length: 9 }, (_, i) => i) },
  };
  const canvas = new OffscreenCanvas(side, side);
  for (let i = 0; i < draws; i++) {
    // Between two draws whatever else the page has to do comes first.
    await new Promise((resolve) => setTimeout(resolve));
    // A real one has come.
    if (kept.some(({ picture }) => picture !== explained.picture)) break;
    draw(explained, canvas);
  }
  const at = kept.findIndex(({ picture }) => picture === explained.picture);
  if (at >= 0) kept.splice(at, 1)[0].overlay.free();
}

/** @typedef {{ width: number, height: number, values: Float32Array }} Grid */
/** @typedef {{ width: number, height: number, rgba: Uint8Array }} Picture */

/** @template T @param {Grid} grid @param {(map: any) => T} use @returns {T} */
function withMap({ width, height, values }, use) {
  const map = new glue.Map(width, height, values);
  try {
    return use(map);
  } catch (error) {
    throw asGradCamError(error, "TargetError");
  } finally {
    map.free();
  }
}

/** @param {Grid} map @returns {Grid} */
export function heatmapOf(map) {
  return { width: map.width, height: map.height, values: withMap(map, (map) => map.heatmap()) };
}

/** As large as the engine counts. */
export const MOST = 2 ** 32 - 1;

/** @param {Grid} map @returns {Grid} */
export function heatmapAt(map, width, height) {
  if (![width, height].every((side) => Number.isInteger(side) && side > 0)) {
    throw new GradCamError(
      "TargetError",
      `A heatmap of ${width} × ${height} can't be had: whole numbers above 0 are accepted.`,
    );
  }
  // What is more than the engine counts would begin at 0 again: it refuses the most that it counts, too.
  const counted = (side) => Math.min(side, MOST);
  return { width, height, values: withMap(map, (map) => map.heatmapAt(counted(width), counted(height))) };
}

/** What there is to see in a map, for a person. @param {Grid} map */
export function sentenceOf(map) {
  return withMap(map, (map) => map.sentence());
}

/** A colormap's 256 colours: red, green and blue one after the other, 0..=255. @param {string} colormap */
export async function colors(colormap) {
  await loadView();
  try {
    return glue.colors(colormap);
  } catch (error) {
    throw asGradCamError(error, "TargetError");
  }
}

/** How many pictures stay in wasm memory. */
const OVERLAYS_KEPT = 2;

/**
 * The pictures that were drawn last stay in wasm memory, so that a slider moves without copying them: a large one and
 * the small one of a grid beside it, but no more, so that a page with many explanations holds few copies. The last one
 * is the one used last.
 * @type {{ picture: Picture, map: Grid, overlay: any }[]}
 */
const kept = [];

/** @param {{ picture: Picture, rect: Float64Array, map: Grid }} explained */
function overlayOf({ picture, rect, map }) {
  const at = kept.findIndex((entry) => entry.picture === picture);
  const [entry] = at >= 0 ? kept.splice(at, 1) : [];
  if (!entry && kept.length === OVERLAYS_KEPT) kept.shift().overlay.free();
  const isSame = entry?.map === map;
  const overlay = isSame
    ? entry.overlay
    : withMap(map, (wasmMap) =>
        entry
          ? entry.overlay.withMap(wasmMap)
          : new glue.Overlay(picture.width, picture.height, picture.rgba, rect, wasmMap),
      );
  kept.push({ picture, map, overlay });
  return overlay;
}

/** Where lines are drawn and boxes end if nobody says: a fifth of the maximum, as Zhou et al. 2016 take. */
const USUAL_THRESHOLD = 0.2;

/** How opacity and heatmap belong together; the first is the default. */
export const OPACITIES = ["uniform", "value"];

/** Draws the heatmap over its picture, at the picture's size. @param {import("./index.js").Style} style */
export function draw(explained, canvas, style = {}) {
  const {
    colormap = DEFAULT_STYLE.colormap,
    opacity = DEFAULT_STYLE.opacity,
    threshold = DEFAULT_STYLE.threshold,
    opacityBy = "uniform",
    contours,
    boxes,
  } = style;
  for (const [name, value] of Object.entries({ opacity, threshold })) {
    if (typeof value !== "number")
      throw new GradCamError("TargetError", `The ${name} is ${value}; a number from 0 to 1 is accepted.`);
  }
  if (!OPACITIES.includes(opacityBy))
    throw new GradCamError("TargetError", `There is no opacityBy "${opacityBy}"; there are ${OPACITIES.join(", ")}.`);
  const overlay = overlayOf(explained);
  try {
    overlay.draw(canvas, String(colormap), opacity, threshold, opacityBy === "value");
  } catch (error) {
    throw asGradCamError(error, "TargetError");
  }
  const lines = [
    ...(contours ? contoursOf(explained, threshold || USUAL_THRESHOLD) : []),
    ...(boxes ? boxesOf(explained, threshold || USUAL_THRESHOLD).map(cornersOf) : []),
  ];
  drawLines(canvas, lines);
}

function cornersOf({ x, y, width, height }) {
  return [
    [x, y],
    [x + width, y],
    [x + width, y + height],
    [x, y + height],
  ];
}

/** White on a dark seam, which can be seen on any picture. */
function drawLines(canvas, lines) {
  if (lines.length === 0) return;
  const context = canvas.getContext("2d");
  const width = Math.max(1.5, Math.max(canvas.width, canvas.height) / 300);
  context.save();
  context.lineJoin = "round";
  context.beginPath();
  for (const line of lines) {
    line.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
    context.closePath();
  }
  for (const [lineWidth, strokeStyle] of [
    [2 * width, "rgb(0 0 0 / 60%)"],
    [width, "#fff"],
  ]) {
    Object.assign(context, { lineWidth, strokeStyle });
    context.stroke();
  }
  context.restore();
}

function checkThreshold(threshold) {
  if (typeof threshold === "number" && threshold >= 0 && threshold <= 1) return;
  throw new GradCamError("TargetError", `The threshold is ${threshold}; a number from 0 to 1 is accepted.`);
}

/** Boxes around what reaches the threshold, the largest part first. */
export function boxesOf(explained, threshold = USUAL_THRESHOLD) {
  checkThreshold(threshold);
  const sides = overlayOf(explained).boxes(threshold);
  return Array.from({ length: sides.length / 4 }, (_, i) => {
    const [x, y, width, height] = sides.subarray(4 * i, 4 * i + 4);
    return { x, y, width, height };
  });
}

/** Closed lines around what reaches the threshold, in pixels of the picture. */
export function contoursOf(explained, threshold = USUAL_THRESHOLD) {
  checkThreshold(threshold);
  const lines = overlayOf(explained).contours(threshold);
  return lines.map((line) => Array.from({ length: line.length / 2 }, (_, i) => [line[2 * i], line[2 * i + 1]]));
}

/** The heatmap's numbers over the whole picture, row by row; 0 where the network did not look. @returns {Float32Array} */
export function valuesOf(explained) {
  return overlayOf(explained).values();
}

/** The heatmap's number in a pixel of the picture, 0..=1; undefined where the network did not look. */
export function valueAt(explained, x, y) {
  return overlayOf(explained).valueAt(x, y);
}

/** Draws several maps of one size over their picture, each in its colour. @param {{ picture: Picture, rect: Float64Array, maps: Grid[] }} concepts */
export function drawConcepts({ picture: { width, height, rgba }, rect, maps }, canvas, style) {
  const { opacity = DEFAULT_STYLE.opacity } = style ?? {};
  if (typeof opacity !== "number")
    throw new GradCamError("TargetError", `The opacity is ${opacity}; a number from 0 to 1 is accepted.`);
  const [{ width: mapWidth, height: mapHeight }] = maps;
  const values = new Float32Array(maps.length * mapWidth * mapHeight);
  maps.forEach((map, i) => values.set(map.values, i * mapWidth * mapHeight));
  try {
    glue.drawConcepts(width, height, rgba, rect, mapWidth, mapHeight, values, canvas, opacity);
  } catch (error) {
    throw asGradCamError(error, "TargetError");
  }
}

/** The colours in which that many concepts are drawn, as CSS has them. @param {number} count */
export function conceptColors(count) {
  const levels = glue.conceptColors(count);
  return Array.from({ length: count }, (_, i) => `rgb(${levels.subarray(3 * i, 3 * i + 3).join(" ")})`);
}
