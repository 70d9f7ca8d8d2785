// Makes one script, without imports of any kind, of a module and all that it imports: node xtask/bundle.js MODULE SCRIPT

import { build } from "esbuild";

const [entry, script] = process.argv.slice(2);
await build({
  entryPoints: [entry],
  outfile: script,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
});
