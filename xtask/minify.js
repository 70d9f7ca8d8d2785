// Makes each script small where it is, and puts a source map with the whole source beside a long one: node xtask/minify.js SCRIPT...
//
// Each module stays a module of its own, so that a page loads only what it uses.

import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { transformSync } from "esbuild";

/** In characters. */
const SHORT = 4000;

/** Without what codegen alone reads of the attributes, which is most of that module: texts, and lists of other modules. @param {string} source */
const withoutDescriptions = (source) =>
  source
    .replace(/\b(?:description|fallback|type|accepts):\s*("|')(?:(?!\1)[^\\]|\\.)*\1,?/g, "")
    .replace(/\bvalues: [A-Z].*,/g, "");

/** With the style sheet in it made small, too. @param {string} source */
const withSmallStyle = (source) =>
  source.replace(/(?<== )`([^`]*)`/, (_, css) =>
    JSON.stringify(transformSync(css, { loader: "css", minify: true }).code.trim()),
  );

/** What is done to a script's source before. @type {Record<string, (source: string) => string>} */
const BEFORE = { "attributes.js": withoutDescriptions, "element-style.js": withSmallStyle };

for (const script of process.argv.slice(2)) {
  const name = basename(script);
  const source = readFileSync(script, "utf8");
  const { code, map } = transformSync(BEFORE[name]?.(source) ?? source, {
    format: "esm",
    // Which leaves imports out that are of no use any more.
    loader: name === "attributes.js" ? "ts" : "js",
    minify: true,
    sourcefile: name,
    sourcemap: "external",
    target: "es2022",
  });
  // A short module is read without its source, which saves the visitor a line that compresses badly.
  if (code.length < SHORT) {
    writeFileSync(script, code);
    continue;
  }
  writeFileSync(script, `${code}//# sourceMappingURL=${name}.map\n`);
  writeFileSync(`${script}.map`, map);
}
