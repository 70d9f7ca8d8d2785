// Makes the site's scripts few and small where they are: node xtask/pack.js SITE
//
// A module of its own for each of the sources is a request for each, and a page has sixty. What a page or a figure needs at once
// becomes a handful of files; what is imported later stays apart. Beside a long one lies a source map with the whole source.

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { build, transformSync } from "esbuild";

const [site] = process.argv.slice(2);
const PACKAGE = "gradcam-web";

/** What pages name: the site's own scripts, and those that the package offers or fetches by their names. */
const ENTRIES = [
  ...["main", "embed"],
  ...["index", "api", "element", "widget", "sizes", "view/gradcam_web"].map((name) => `${PACKAGE}/${name}`),
  ...namesOfNetworks().map((name) => `${PACKAGE}/models/${name}/model`),
].map((name) => join(site, `${name}.js`));

/** In characters: shorter ones are read without their source, which saves the visitor a line that compresses badly. */
const SHORT = 4000;

/** What is done to a source before. @type {Record<string, (source: string) => string>} */
const BEFORE = {
  // Without what codegen alone reads of the attributes, which is most of that module: texts, and lists of other modules.
  "attributes.js": (source) =>
    source
      .replace(/\b(?:description|fallback|type|accepts):\s*("|')(?:(?!\1)[^\\]|\\.)*\1,?/g, "")
      .replace(/\bvalues: [A-Z].*,/g, ""),
  "element-style.js": withSmallStyle,
};

const { metafile, outputFiles } = await build({
  entryPoints: ENTRIES,
  outbase: site,
  outdir: site,
  // Beside the package's other files, whose addresses begin where the script is.
  chunkNames: `${PACKAGE}/[name]-[hash]`,
  bundle: true,
  splitting: true,
  format: "esm",
  minify: true,
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
  sourcemap: "external",
  metafile: true,
  write: false,
  plugins: [
    {
      name: "before",
      setup(build) {
        build.onLoad({ filter: /\.js$/ }, ({ path }) => {
          const source = readFileSync(path, "utf8");
          return { contents: BEFORE[basename(path)]?.(source) ?? source };
        });
      },
    },
  ],
});
for (const source of Object.keys(metafile.inputs)) rmSync(source);
for (const { path, text } of outputFiles) {
  if (path.endsWith(".map")) continue;
  const isLong = text.length >= SHORT;
  writeFileSync(path, isLong ? `${text}//# sourceMappingURL=${basename(path)}.map\n` : text);
  if (isLong) writeFileSync(`${path}.map`, outputFiles.find((file) => file.path === `${path}.map`).contents);
}
// This one tells browsers that are too old for the others.
const unstarted = join(site, "unstarted.js");
writeFileSync(unstarted, transformSync(readFileSync(unstarted, "utf8"), { minify: true, target: "es2015" }).code);
preload();

/** Has the page fetch all that it needs at once: left to itself it learns of it one trip to the server after the other. */
function preload() {
  const [, main] = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint?.endsWith("main.js"));
  const chunks = main.imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => relative(site, path));
  // What no script names before it runs: the drawing code.
  const modules = [...chunks, `${PACKAGE}/view/gradcam_web.js`];
  const links = modules.map((module) => `<link rel="modulepreload" href="${module}">`);
  links.push(`<link rel="preload" as="fetch" crossorigin href="${PACKAGE}/view/gradcam_web_bg.wasm">`);
  const page = join(site, "index.html");
  const html = readFileSync(page, "utf8");
  const entry = '<script type="module" src="main.js"></script>';
  if (!html.includes(entry)) throw new Error(`www/index.html has no ${entry}`);
  writeFileSync(page, html.replace(entry, [...links, entry].join("\n  ")));
}

function namesOfNetworks() {
  const list = readFileSync(join(site, PACKAGE, "models.js"), "utf8");
  return [...list.matchAll(/import\("\.\/models\/(\w+)\/model\.js"\)/g)].map(([, name]) => name);
}

function withSmallStyle(source) {
  return source.replace(/(?<== )`([^`]*)`/, (_, css) =>
    JSON.stringify(transformSync(css, { loader: "css", minify: true }).code.trim()),
  );
}
