// Files as a server with brotli would send them.

import { brotliCompressSync, constants } from "node:zlib";

/** @param {Uint8Array} bytes @returns {Buffer} */
export function brotli(bytes) {
  const params = { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return brotliCompressSync(bytes, { params });
}
