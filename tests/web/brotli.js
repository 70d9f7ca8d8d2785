// How many bytes a server with brotli would send.

import { brotliCompressSync, constants } from "node:zlib";

/** @param {Uint8Array} bytes */
export function brotliLength(bytes) {
  const params = { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return brotliCompressSync(bytes, { params }).length;
}
