// Where the package's files lie: beside its modules, as a bundler knows them, or where the page says.

import { GradCamError } from "./errors.js";

/** @type {string | undefined} */
let folder;

/** See `configure` in index.d.ts. */
export function configure(options) {
  const { assets } = options ?? {};
  if (assets === undefined) return;
  try {
    const address = new URL(assets, globalThis.document?.baseURI ?? globalThis.location?.href);
    folder = address.href.replace(/\/?$/, "/");
  } catch (cause) {
    throw new GradCamError("TargetError", `The assets are at "${assets}", which is no address of a folder.`, { cause });
  }
}

/**
 * A file's address.
 *
 * @param {string} path in the package
 * @param {URL} beside its address as a bundler knows it: `new URL("./…", import.meta.url)`, literally
 */
export function assetUrl(path, beside) {
  return folder === undefined ? beside : new URL(path, folder);
}

/** Whether the page says where the files lie. */
export const isConfigured = () => folder !== undefined;
