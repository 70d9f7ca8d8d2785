import { EngineWorker } from "./engine.js";
import { GradCamError } from "./errors.js";

/** @typedef {"webgpu" | "cpu"} Backend */
/**
 * `better` opens the engine that is to take this one's place, or says by its error why there is none.
 * @typedef {{ worker: EngineWorker, backend: Backend, reason: string, better?: () => Promise<Engine> }} Engine
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
 * @param {(fraction: number) => void} [onProgress] of the engine's download
 * @returns {Promise<Engine>}
 * @throws {GradCamError} `DeviceError` if the backend can't be had
 */
export async function openEngine(wanted, onProgress) {
  if (wanted === "cpu") return openOn("cpu", "asked for", onProgress);
  if (wanted === "auto" && gpuRefused) return openOn("cpu", gpuRefused, onProgress);
  // With a graphics card the CPU answers first, too.
  if (wanted === "auto" && !workers.has("webgpu") && !workers.has("cpu")) EngineWorker.expect("cpu");
  const { obstacle, adapter } = await probe();
  if (wanted === "webgpu") {
    if (obstacle && obstacle !== SOFTWARE) throw new GradCamError("DeviceError", `WebGPU can't be had here: ${obstacle}. The backend "cpu" works everywhere.`);
    return openOn("webgpu", `asked for; ${adapter}`, onProgress);
  }
  if (!obstacle && gpuRuns) return openOn("webgpu", adapter, onProgress);
  if (obstacle) return openOn("cpu", (gpuRefused ??= obstacle), onProgress);
  // Device and shaders take several times as long to get ready as the CPU to answer.
  return { ...(await openOn("cpu", `until ${adapter} is ready`, onProgress)), better: () => openGpu(adapter) };
}

/** @returns {Promise<Engine>} */
async function openGpu(adapter) {
  try {
    return await openOn("webgpu", adapter);
  } catch (cause) {
    gpuRefused ??= `the GPU failed its start: ${cause.message}`;
    throw new GradCamError("DeviceError", gpuRefused, { cause });
  }
}

/** @returns {Promise<Engine>} */
async function openOn(backend, reason, onProgress) {
  let starting = workers.get(backend);
  if (!starting) {
    starting = EngineWorker.start(backend, (crash) => {
      workers.delete(backend);
      if (backend === "webgpu") [gpuRuns, gpuRefused] = [false, `the GPU failed: ${crash}`];
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
    return { obstacle: `no WebGPU adapter (${error.message})` };
  }
  if (!adapter) return { obstacle: "no WebGPU adapter" };
  const info = adapter.info ?? {};
  const name = [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ");
  // A processor that plays GPU is some thirty times slower than the CPU build.
  if (info.isFallbackAdapter || adapter.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|software|basic render/i.test(name)) {
    return { obstacle: SOFTWARE, adapter: `${SOFTWARE} ${name}`.trim() };
  }
  return { adapter: name ? `WebGPU on ${name}` : "WebGPU" };
}
