// The wasm builds that the worker uses, fetched and compiled by the page.

import { assetUrl } from "./assets.js";
import { counter, counting, listening } from "./download.js";
import { GradCamError } from "./errors.js";

/** @typedef {"cpu" | "webgpu" | "decode" | "formats"} BuildName */

/** Whether a product is added to a sum in one instruction: a module with `f32x4.relaxed_madd` alone is tried. */
const HAS_RELAXED_SIMD = WebAssembly.validate(
  Uint8Array.of(
    0,
    97,
    115,
    109,
    1,
    0,
    0,
    0,
    1,
    5,
    1,
    96,
    0,
    1,
    123,
    3,
    2,
    1,
    0,
    10,
    19,
    1,
    17,
    0,
    65,
    0,
    253,
    15,
    65,
    0,
    253,
    15,
    65,
    0,
    253,
    15,
    253,
    133,
    2,
    11,
  ),
);

/** Each address is written out, so that bundlers see it. @type {Record<BuildName, { folder: string, beside: URL }>} */
const BUILDS = {
  cpu: HAS_RELAXED_SIMD
    ? { folder: "relaxed", beside: new URL("./relaxed/gradcam_web_bg.wasm", import.meta.url) }
    : { folder: "cpu", beside: new URL("./cpu/gradcam_web_bg.wasm", import.meta.url) },
  webgpu: { folder: "gpu", beside: new URL("./gpu/gradcam_web_bg.wasm", import.meta.url) },
  decode: { folder: "decode", beside: new URL("./decode/gradcam_web_bg.wasm", import.meta.url) },
  formats: { folder: "formats", beside: new URL("./formats/gradcam_web_bg.wasm", import.meta.url) },
};

/** The folder of a build's files, and its name in the worker. @param {BuildName} name */
export const folderOf = (name) => BUILDS[name].folder;

/** Smaller builds are there before their progress would show. */
const WORTH_COUNTING = 1e6;

/**
 * Fetches a build and compiles it while it comes.
 *
 * @param {BuildName} name
 * @param {{ signal?: AbortSignal, onProgress?: (fraction: number) => void }} [options]
 * @returns {Promise<WebAssembly.Module>}
 * @throws {GradCamError} `DeviceError`
 */
export async function compile(name, { signal, onProgress } = {}) {
  const { folder, beside } = BUILDS[name];
  const wasm = assetUrl(`${folder}/gradcam_web_bg.wasm`, beside);
  let isPage = false;
  const line = listening(signal);
  try {
    // The sizes are known once everything is built, and the package can be imported before.
    const [response, { WASM_BYTES }] = await Promise.all([fetch(wasm, { signal: line.signal }), import("./sizes.js")]);
    if (!response.ok)
      throw new GradCamError("DeviceError", `${wasm} answered ${response.status} ${response.statusText}`.trim());
    isPage = response.headers.get("content-type")?.startsWith("text/html") ?? false;
    const bytes = WASM_BYTES[folder];
    const isCounted = onProgress && bytes > WORTH_COUNTING;
    // Of the others nothing is heard until they are there.
    if (isCounted) line.heard();
    // A response that is passed on as it came may have been compiled at an earlier visit. Not every server knows wasm's type.
    const isReady = !isCounted && response.headers.get("content-type") === "application/wasm";
    const body = isCounted
      ? response.body.pipeThrough(counter(counting(bytes, onProgress, line.heard)))
      : response.body;
    return await WebAssembly.compileStreaming(
      isReady ? response : new Response(body, { headers: { "content-type": "application/wasm" } }),
    );
  } catch (error) {
    if (error instanceof GradCamError) throw error;
    const why = isPage ? "the server sent a web page in its place" : (line.signal.reason ?? error).message;
    throw new GradCamError("DeviceError", `${wasm} can't be had: ${why}`, { cause: error });
  } finally {
    line.done();
  }
}
