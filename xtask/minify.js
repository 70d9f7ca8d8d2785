// Makes each script small where it is, and puts a source map with the whole source beside it: node xtask/minify.js SCRIPT...
//
// Each module stays a module of its own, so that a page loads only what it uses.

import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { transformSync } from "esbuild";

/** Without what codegen alone reads of the attributes, which is half of that module. @param {string} source */
const withoutDescriptions = (source) =>
  source.replace(/\b(?:description|fallback|type|accepts):\s*"(?:[^"\\]|\\.)*",?/g, "");

for (const script of process.argv.slice(2)) {
  const name = basename(script);
  const source = readFileSync(script, "utf8");
  const { code, map } = transformSync(name === "attributes.js" ? withoutDescriptions(source) : source, {
    format: "esm",
    minify: true,
    sourcefile: name,
    sourcemap: "external",
    target: "es2022",
  });
  writeFileSync(script, `${code}//# sourceMappingURL=${name}.map\n`);
  writeFileSync(`${script}.map`, map);
}
