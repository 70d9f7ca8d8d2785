// What is published: the files of `npm pack`, its exports and types, as npm's own lints and the compilers of frameworks see them.

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { TOOLS, project } from "./packed.js";
import { ROOT } from "./site.js";

const FRAMEWORKS = ["react", "preact", "solid-js", "svelte", "vue"];
const { folder, tarball, files, run, remove } = project([
  ...FRAMEWORKS.filter((name) => name !== "react"),
  "@types/react",
  "csstype",
]);
after(remove);
const tool = (path) => import(join(TOOLS, "node_modules", path));
const manifest = JSON.parse(readFileSync(join(folder, "package/package.json"), "utf8"));

test("the package has its licences, and no file but its own", () => {
  for (const file of ["LICENSE-MIT", "LICENSE-APACHE", "README.md", "worker.js", "models.js", "sizes.js", "widget.js"])
    assert.ok(files.includes(file), `${file} is missing`);
  const kinds = /\.(js|d\.ts|wasm|json|onnx|md|txt)$|^LICENSE-/;
  assert.deepEqual(
    files.filter((file) => !kinds.test(file) || /(^|\/)\.|test/.test(file)),
    [],
  );
});

test("every name in exports leads to a file, and every module's neighbours are there", () => {
  for (const [name, target] of Object.entries(manifest.exports)) {
    for (const path of typeof target === "string" ? [target] : Object.values(target)) {
      const [start, end] = path.slice(2).split("*");
      assert.ok(
        files.some((file) => (end === undefined ? file === start : file.startsWith(start) && file.endsWith(end))),
        `${name}: ${path}`,
      );
    }
  }
  for (const file of files.filter((file) => file.endsWith(".js") && file !== "worker.js")) {
    const text = readFileSync(join(folder, "package", file), "utf8");
    const names = text.matchAll(/(?:from|import\()\s*"(\.[\w./-]+)"|new URL\("(\.[\w./-]+)", import\.meta\.url\)/g);
    for (const [, module, address] of names) {
      const path = new URL(module ?? address, `file:///${file}`).pathname.slice(1);
      assert.ok(files.includes(path), `${file} names ${path}`);
    }
  }
});

test("no file names a folder of the machine that built it", () => {
  for (const file of files) {
    const bytes = readFileSync(join(folder, "package", file));
    for (const path of [homedir(), process.env.CARGO_HOME, ROOT])
      assert.ok(!path || path === "/" || !bytes.includes(join(path, "/")), `${file} names ${path}`);
  }
});

test("constructors do not run with every call from JavaScript", () => {
  const builds = files.filter((file) => file.endsWith(".wasm"));
  assert.ok(builds.length >= 6);
  for (const file of builds) {
    // What the linker calls functions that begin with them.
    assert.ok(!readFileSync(join(folder, "package", file)).includes("_command_export"), file);
  }
});

test("one version everywhere", () => {
  const text = (path) => readFileSync(join(ROOT, path), "utf8");
  const found = {
    "Cargo.toml": /^version = "(.+)"$/m.exec(text("Cargo.toml"))[1],
    "pkg/widget.js": /VERSION = "(.+)"/.exec(text("pkg/widget.js"))[1],
    "python/pyproject.toml": /^version = "(.+)"$/m.exec(text("python/pyproject.toml"))[1],
    "gradcam_web/__init__.py": /^__version__ = "(.+)"$/m.exec(text("python/src/gradcam_web/__init__.py"))[1],
  };
  for (const [path, version] of Object.entries(found)) assert.equal(version, manifest.version, path);
  for (const path of ["docs/embedding.md", "pkg/README.md"])
    for (const [, version] of text(path).matchAll(/gradcam-web@([\w.]+)\//g))
      assert.equal(version, manifest.version, path);
});

test("publint finds nothing", async () => {
  const { publint } = await tool("publint/src/index-node.js");
  const { messages } = await publint({ pkgDir: join(folder, "package"), strict: true, pack: false });
  assert.deepEqual(messages, []);
});

test("its types are found however a program looks for them", async () => {
  const core = await tool("@arethetypeswrong/core/dist/index.js");
  const checked = await core.checkPackage(core.createPackageFromTarballData(readFileSync(tarball)));
  // ES modules alone: what requires them is told so by Node.
  const problems = checked.problems.filter(({ kind }) => kind !== "CJSResolvesToESM");
  assert.deepEqual(problems, []);
});

/** Type-checks a file; its lines with `// wrong` are to be refused and no others. */
function check(file, text, compile) {
  writeFileSync(join(folder, file), text);
  let said = "";
  try {
    compile();
  } catch (error) {
    said = `${error.stdout}${error.stderr}`;
  }
  const lines = [...said.matchAll(/(?:\((\d+),\d+\): error|:(\d+):\d+\s+Error|:(\d+):\d+ - error)/g)].map(
    ([, a, b, c]) => Number(a ?? b ?? c),
  );
  const wrong = text.split("\n").flatMap((line, i) => (/ wrong\b/.test(line) ? [i + 1] : []));
  assert.deepEqual([...new Set(lines)], wrong, said);
}

const STRICT = {
  strict: true,
  noEmit: true,
  target: "es2024",
  module: "esnext",
  moduleResolution: "bundler",
  types: [],
};

/** Runs a compiler on one file. @param {string} compiler below node_modules @param {object} [more] of tsconfig.json */
const compile = (compiler, file, { options = {}, ...more } = {}) => {
  const compilerOptions = { ...STRICT, ...options };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: [file], ...more }));
  return run("node", [join(TOOLS, "node_modules", compiler), "--project", "tsconfig.json"]);
};
const jsx = (source, options = { jsx: "preserve" }) => compile("typescript/bin/tsc", source, { options });

/** @param {string} on how the framework names the listener of `explain` */
const figure = (framework, on) => `import type {} from "gradcam-web/types/${framework}";
export const right = (photo: Blob) => (
  <grad-cam src={photo} controls target-class={281} targetLayer={["stage3", "stage4"]} opacity={0.4} class="figure"
    ${on}={(event) => void event.detail.heatmap.values.length}>
    <img src="cat.jpg" alt="A cat" />
  </grad-cam>
);
export const method = () => <grad-cam method="magic-cam" />; // wrong
export const listener = () => <grad-cam ${on}={(event: string) => void event} />; // wrong
`;

test("api.js has the types of the package, and no element", () => {
  const text = `import { GradCamElement, GradCamError, loadModel, type Model } from "gradcam-web/api.js";
export const model: Promise<Model> = loadModel("x.onnx");
export const isOurs = (error: unknown) => error instanceof GradCamError;
export const figure = new GradCamElement(); // wrong
`;
  check("api.ts", text, () => compile("typescript/bin/tsc", "api.ts"));
});

test("React knows the element", () => {
  const text = figure("react", "onexplain").replace('class="figure"', 'className="figure"');
  check("react.tsx", text, () => jsx("react.tsx"));
});

test("Preact knows the element", () => {
  const options = { jsx: "react-jsx", jsxImportSource: "preact" };
  check("preact.tsx", figure("preact", "onexplain"), () => jsx("preact.tsx", options));
});

test("Solid knows the element", () => {
  const options = { jsx: "preserve", jsxImportSource: "solid-js" };
  check("solid.tsx", figure("solid", "on:explain"), () => jsx("solid.tsx", options));
});

test("Vue knows the element", () => {
  const text = `<script setup lang="ts">
import type {} from "gradcam-web/types/vue";
const photo = new Blob();
const layers = ["stage3", "stage4"];
</script>
<template>
  <grad-cam :src="photo" controls :target-class="281" :targetLayer="layers" :opacity="0.4" class="figure"
    @explain="(event) => void event.detail.heatmap.values.length"><img src="cat.jpg" alt="A cat" /></grad-cam>
  <grad-cam method="magic-cam" /><!-- wrong -->
  <grad-cam :target-class="true" /><!-- wrong -->
</template>
`;
  const vueCompilerOptions = { strictTemplates: true };
  check("Figure.vue", text, () => compile("vue-tsc/bin/vue-tsc.js", "Figure.vue", { vueCompilerOptions }));
});

test("Svelte knows the element", () => {
  const text = `<script lang="ts">
  import type {} from "gradcam-web/types/svelte";
  const photo = new Blob();
</script>

<grad-cam src={photo} controls target-class={281} opacity={0.4} class="figure"
  onexplain={(event) => void event.detail.heatmap.values.length}><img src="cat.jpg" alt="A cat" /></grad-cam>
<grad-cam method="magic-cam"></grad-cam><!-- wrong -->
<grad-cam onexplain={(event: string) => void event}></grad-cam><!-- wrong -->
`;
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: STRICT, include: ["Figure.svelte"] }));
  const checker = join(TOOLS, "node_modules/svelte-check/bin/svelte-check");
  const args = ["--workspace", folder, "--tsconfig", "./tsconfig.json", "--output", "human"];
  check("Figure.svelte", text, () => run("node", [checker, ...args]));
});

test("where there is no browser a model is refused in words", () => {
  assert.ok(existsSync(join(folder, "node_modules/gradcam-web")));
  writeFileSync(
    join(folder, "node.mjs"),
    `import { GradCamError, GradCamElement, loadModel } from "gradcam-web";
     import "gradcam-web/element.js";
     const error = await loadModel("x.onnx").catch((error) => error);
     console.log(error instanceof GradCamError, error.name, error.message, typeof GradCamElement);`,
  );
  assert.equal(
    String(run("node", ["node.mjs"])).trim(),
    "true DeviceError Models run in browsers only: here is no Worker to run them in. function",
  );
});
