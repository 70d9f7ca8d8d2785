// @ts-check
import { EngineWorker } from "./worker-client.js";
import { GradCamError, messageOf } from "./errors.js";

/** @typedef {"webgpu" | "cpu"} Backend */
/**
 * `better` opens the engine that is to take this one's place if it is faster, or says by its error why there is none.
 * @typedef {{ worker: EngineWorker, backend: Backend, reason: string, adapter?: string, better?: () => Promise<Engine> }} Engine
 */

/** What `loadModel` and the element accept as `backend`. */
export const BACKENDS = Object.freeze(["auto", "webgpu", "cpu"]);

/** One worker for each backend that is in use on this page, shared by every model. @type {Map<Backend, Promise<EngineWorker>>} */
const workers = new Map();

/** Why `auto` no longer tries the GPU on this page, once that is known. @type {string | undefined} */
let gpuRefused;

/** Whether there is an engine on the GPU. */
let gpuRuns = false;

/**
 * The page's running worker for the wanted backend, started if need be.
 *
 * @param {"auto" | Backend} wanted
 * @param {object} [options]
 * @param {(fraction: number) => void} [options.onProgress] of the engine's download
 * @param {boolean} [options.isOnCard] whether `auto` has changed to the graphics card
 * @returns {Promise<Engine>}
 * @throws {GradCamError} `DeviceError` if the backend can't be had
 */
export async function openEngine(wanted, { onProgress, isOnCard = false } = {}) {
  if (wanted === "cpu") return openOn("cpu", "asked for", onProgress);
  if (wanted === "auto" && gpuRefused) return openOn("cpu", gpuRefused, onProgress);
  // With a graphics card the CPU answers first, too.
  if (wanted === "auto" && !workers.has("webgpu") && !workers.has("cpu")) EngineWorker.prewarm("cpu");
  const { obstacle, adapter = "WebGPU" } = await probe();
  if (wanted === "webgpu") {
    if (obstacle && obstacle !== SOFTWARE && obstacle !== IOS)
      throw new GradCamError(
        "DeviceError",
        `WebGPU can't be had here: ${obstacle}. The backend "cpu" works everywhere.`,
      );
    return openOn("webgpu", `asked for; ${adapter}`, onProgress);
  }
  if (!obstacle && gpuRuns && isOnCard) return openOn("webgpu", adapter, onProgress);
  if (obstacle) return openOn("cpu", (gpuRefused ??= obstacle), onProgress);
  // Device and shaders take several times as long to get ready as the CPU to answer.
  return { ...(await openOn("cpu", `until ${adapter} is ready`, onProgress)), better: () => openGpu(adapter) };
}

/** @param {string} adapter @returns {Promise<Engine>} */
async function openGpu(adapter) {
  try {
    return { ...(await openOn("webgpu", adapter)), adapter };
  } catch (cause) {
    gpuRefused ??= `the GPU failed its start: ${messageOf(cause)}`;
    throw new GradCamError("DeviceError", gpuRefused, { cause });
  }
}

/**
 * @param {Backend} backend @param {string} reason @param {(fraction: number) => void} [onProgress]
 * @returns {Promise<Engine>}
 */
async function openOn(backend, reason, onProgress) {
  let starting = workers.get(backend);
  if (!starting) {
    starting = EngineWorker.start(backend, (crash) => {
      workers.delete(backend);
      if (backend !== "webgpu") return;
      gpuRuns = false;
      if (crash) gpuRefused = `the GPU failed: ${crash}`;
    });
    workers.set(backend, starting);
    starting.catch(() => workers.delete(backend));
  }
  if (onProgress) EngineWorker.watchDownload(backend, onProgress);
  const worker = await starting;
  if (backend === "webgpu") gpuRuns = worker.alive;
  return { worker, backend, reason };
}

const SOFTWARE = "software adapter";

/** Long series of runs on WebGPU have ended other engines there, and the page with them. */
const IOS = "WebGPU on iOS only if asked for";

/** iPads call themselves Macs, which have no touch screens. */
const isIos = () =>
  /iPhone|iPad|iPod/.test(navigator.userAgent) || (/Mac/.test(navigator.platform) && navigator.maxTouchPoints > 1);

/** @type {Promise<{ obstacle?: string, adapter?: string }> | undefined} */
let probing;

/** What stands against WebGPU here, in a few plain words, and the adapter's name if there is one. */
function probe() {
  return (probing ??= probeAdapter());
}

async function probeAdapter() {
  if (!globalThis.isSecureContext) return { obstacle: "no WebGPU without https" };
  if (!navigator.gpu) return { obstacle: "no WebGPU in this browser" };
  let adapter;
  try {
    adapter = await navigator.gpu.requestAdapter();
  } catch (error) {
    return { obstacle: `no WebGPU adapter (${messageOf(error)})` };
  }
  if (!adapter) return { obstacle: "no WebGPU adapter" };
  // Older browsers have the mark of software on the adapter, and no information.
  const { info = {}, isFallbackAdapter } = /** @type {any} */ (adapter);
  const name = [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ");
  // A processor that plays GPU is some thirty times slower than the CPU build.
  if (
    info.isFallbackAdapter ||
    isFallbackAdapter ||
    /swiftshader|llvmpipe|lavapipe|software|basic render/i.test(name)
  ) {
    return { obstacle: SOFTWARE, adapter: `${SOFTWARE} ${name}`.trim() };
  }
  return { obstacle: isIos() ? IOS : undefined, adapter: name ? `WebGPU on ${name}` : "WebGPU" };
}
