// Many images, one after the other.

import { GradCamError, asGradCamError, orAborted, throwIfAborted } from "./errors.js";

/** How many images are under way: while the worker explains one, the next is fetched, and one waits in between. */
const AT_ONCE = 3;

/**
 * See `explainAll` in index.d.ts.
 *
 * @param {import("./model.js").Model} model @param {Iterable<any> | AsyncIterable<any>} images @param {object} [options]
 */
export async function* explainAll(model, images, options) {
  if (typeof model?.explain !== "function") {
    throw new GradCamError("TargetError", "explainAll takes a model from loadModel, then the images.");
  }
  const isList = typeof images !== "string" && (images?.[Symbol.iterator] ?? images?.[Symbol.asyncIterator]);
  if (!isList)
    throw new GradCamError("TargetError", "explainAll takes a list of images, or what gives one after the other.");
  const { signal, onProgress, ...asked } = options ?? {};
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
  const iterator = (images[Symbol.asyncIterator] ?? images[Symbol.iterator]).call(images);
  let taken = 0;
  /** The source owes an image. @type {Promise<void> | undefined} */
  let coming;
  let isOver = false;
  let failure;
  /** Asks the source for an image and begins with it. What came before a source failed is answered first. */
  const take = async () => {
    try {
      const { done, value } = await iterator.next();
      isOver = Boolean(done);
      if (!done) underWay.push(explain(taken++, await value));
    } catch (error) {
      isOver = true;
      failure = { error };
    }
  };
  try {
    while (!isOver || underWay.length > 0) {
      throwIfAborted(signal);
      if (!isOver && underWay.length < AT_ONCE) coming ??= take().then(() => (coming = undefined));
      // A source may be slow, wait for the last answer before it goes on, or never go on.
      const result = await orAborted(Promise.race([...underWay.slice(0, 1), ...(coming ? [coming] : [])]), signal);
      if (!result) continue;
      underWay.shift();
      if (total) onProgress?.((result.index + 1) / total);
      yield result;
    }
    if (failure) throw failure.error;
  } finally {
    // Whoever leaves the loop wants no more.
    stopAll();
    signal?.removeEventListener("abort", stopAll);
    if (!isOver) {
      const closed = (async () => iterator.return?.())();
      // A source that owes an image closes once that is there, if ever.
      if (coming) closed.catch(() => {});
      else await closed;
    }
  }
}
