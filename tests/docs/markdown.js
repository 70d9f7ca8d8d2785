// The files that docs/embedding.md tells an author to write: fenced blocks whose info string says `file=PATH`.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../web/site.js";

/**
 * @param {string} heading of a section in docs/embedding.md
 * @returns {Map<string, string>} the files' texts by their paths
 */
export function filesOf(heading) {
  const text = readFileSync(join(ROOT, "docs/embedding.md"), "utf8");
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  if (!section) throw new Error(`docs/embedding.md has no section "${heading}"`);
  const files = new Map();
  // A block ends with as many backticks as it began with.
  for (const [, , path, content] of section.matchAll(/^(`{3,})\S+ file=(\S+)\n(.*?)^\1$/gms)) files.set(path, content);
  if (files.size === 0) throw new Error(`docs/embedding.md gives no file in "${heading}"`);
  return files;
}
