// Many images, one after the other.

import { GradCamError, asGradCamError, throwIfAborted } from "./errors.js";

/** How many images are under way: while the worker explains one, the next is fetched, and one waits in between. */
const AT_ONCE = 3;

/**
 * See `explainAll` in index.d.ts.
 *
 * @param {import("./model.js").Model} model @param {Iterable<any> | AsyncIterable<any>} images @param {object} [options]
 */
export async function* explainAll(model, images, options = {}) {
  if (typeof model?.explain !== "function") {
    throw new GradCamError("TargetError", "explainAll takes a model from loadModel, then the images.");
  }
  const isList = typeof images !== "string" && (images?.[Symbol.iterator] ?? images?.[Symbol.asyncIterator]);
  if (!isList)
    throw new GradCamError("TargetError", "explainAll takes a list of images, or what gives one after the other.");
  const { signal, onProgress, ...asked } = options;
  throwIfAborted(signal);
  const total = images.length ?? images.size;
  const stop = new AbortController();
  const stopAll = () => stop.abort();
  signal?.addEventListener("abort", stopAll, { once: true });
  const explain = async (index, image) => {
    try {
      return { index, explanation: await model.explain(image, { ...asked, signal: stop.signal }) };
    } catch (error) {
      return { index, error: asGradCamError(error, "ImageError") };
    }
  };
  const underWay = [];
  const next = async () => {
    const result = await underWay.shift();
    throwIfAborted(signal);
    if (total) onProgress?.((result.index + 1) / total);
    return result;
  };
  try {
    let taken = 0;
    for await (const image of images) {
      underWay.push(explain(taken++, image));
      if (underWay.length === AT_ONCE) yield await next();
    }
    while (underWay.length > 0) yield await next();
  } finally {
    // Whoever leaves the loop wants no more.
    stopAll();
    signal?.removeEventListener("abort", stopAll);
  }
}
