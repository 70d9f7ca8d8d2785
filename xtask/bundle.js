// Makes one script, without imports of any kind, of a module and all that it imports: node xtask/bundle.js MODULE SCRIPT

import { readFileSync } from "node:fs";
import { build } from "esbuild";

const [entry, script] = process.argv.slice(2);
// The worker has the glue of one for both.
const [cpu, relaxed] = ["cpu", "relaxed"].map((build) => readFileSync(`pkg/${build}/gradcam_web.js`, "utf8"));
if (cpu !== relaxed)
  throw new Error("The builds cpu and relaxed no longer have the same glue: pkg/worker/worker.js has to import both.");
await build({
  entryPoints: [entry],
  outfile: script,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  // What is frozen and not used is left out: of the catalogue the worker takes a line.
  pure: ["Object.freeze"],
  legalComments: "none",
  logLevel: "warning",
});
