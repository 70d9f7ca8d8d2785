// The wasm builds of the engine, and their code.

import { counter } from "./download.js";
import { GradCamError } from "./errors.js";

/** @typedef {"cpu" | "webgpu" | "decode" | "formats"} BuildName */

/** Whether a product is added to a sum in one instruction: a module with `f32x4.relaxed_madd` alone is tried. */
const HAS_RELAXED_SIMD = WebAssembly.validate(Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0,
  10, 19, 1, 17, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11,
));

const PLAIN_CPU = { glue: () => import("./cpu/gradcam_web.js"), wasm: new URL("./cpu/gradcam_web_bg.wasm", import.meta.url), folder: "cpu" };
const RELAXED_CPU = { glue: () => import("./relaxed/gradcam_web.js"), wasm: new URL("./relaxed/gradcam_web_bg.wasm", import.meta.url), folder: "relaxed" };

const BUILDS = {
  cpu: HAS_RELAXED_SIMD ? RELAXED_CPU : PLAIN_CPU,
  webgpu: { glue: () => import("./gpu/gradcam_web.js"), wasm: new URL("./gpu/gradcam_web_bg.wasm", import.meta.url), folder: "gpu" },
  decode: { glue: () => import("./decode/gradcam_web.js"), wasm: new URL("./decode/gradcam_web_bg.wasm", import.meta.url), folder: "decode" },
  formats: { glue: () => import("./formats/gradcam_web.js"), wasm: new URL("./formats/gradcam_web_bg.wasm", import.meta.url), folder: "formats" },
};

/** The script between JavaScript and a build. @param {BuildName} name @returns {Promise<object>} */
export function glueOf(name) {
  return BUILDS[name].glue();
}

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
  const { wasm, folder } = BUILDS[name];
  try {
    // The sizes are known once everything is built, and the package can be imported before.
    const [response, { WASM_BYTES }] = await Promise.all([fetch(wasm, { signal }), import("./sizes.js")]);
    if (!response.ok) throw new GradCamError("DeviceError", `${wasm} answered ${response.status} ${response.statusText}`.trim());
    const bytes = WASM_BYTES[folder];
    const isCounted = onProgress && bytes > WORTH_COUNTING;
    // A response that is passed on as it came may have been compiled at an earlier visit. Not every server knows wasm's type.
    const isReady = !isCounted && response.headers.get("content-type") === "application/wasm";
    const body = isCounted ? response.body.pipeThrough(counter(bytes, onProgress)) : response.body;
    return await WebAssembly.compileStreaming(isReady ? response : new Response(body, { headers: { "content-type": "application/wasm" } }));
  } catch (error) {
    if (error instanceof GradCamError) throw error;
    throw new GradCamError("DeviceError", `${wasm} can't be had: ${error.message}`, { cause: error });
  }
}
