// Writes what repeats a table: methods, colormaps, targets, kinds of files and ways of preprocessing (in Rust; their JSON comes on stdin) and the attributes of
// `<grad-cam>` (`pkg/attributes.js`). With `--check` nothing is written, and a file that differs is an error.

import { readFile, writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import * as prettier from "prettier";

const root = new URL("../", import.meta.url);
const isCheck = process.argv.includes("--check");
const stale = [];

const catalog = JSON.parse(await text(process.stdin));
const { colormaps, files, preprocess, style, targets } = catalog;
// JSON from Rust comes in the order of the alphabet.
const methods = catalog.methods.map(({ name, title, paper, summary, forwardPasses }) => {
  return { name, title, paper, summary, forwardPasses };
});
const otherSenses = catalog.methods.filter(({ warmPlaces }) => warmPlaces !== "for");
const senses = Object.fromEntries(otherSenses.map(({ name, warmPlaces }) => [name, warmPlaces]));
const quoted = (values) => values.map((value) => JSON.stringify(value));
const union = (values) => quoted(values).join(" | ");

// The table of attributes takes its values from the catalogue: a new method is there only once that is written.
await write(
  "pkg/catalog.js",
  await format(
    "pkg/catalog.js",
    `// Written by \`cargo xtask codegen\` from the tables in Rust, for use before any wasm is loaded and where there is no DOM.

    /** Every method there is, in the order in which to offer them. */
    export const METHODS = Object.freeze([${methods.map((method) => `Object.freeze(${JSON.stringify(method)})`)}]);

    /**
     * Of methods whose warm places do not speak for the explained class: whether they speak against it, change its score either
     * way, or stand out whatever the class. @type {Record<string, "against" | "either" | "any">}
     */
    export const SENSES = Object.freeze(${JSON.stringify(senses)});

    /** Every colormap there is, in the order in which to offer them. */
    export const COLORMAPS = Object.freeze(${JSON.stringify(colormaps)});

    /** How a heatmap is drawn if nobody says. */
    export const DEFAULT_STYLE = Object.freeze(${JSON.stringify(style)});

    /** What about a class can be explained by name. */
    export const TARGETS = Object.freeze(${JSON.stringify(targets)});

    /**
     * How the picture files begin that the engine decodes, a character a byte, of which "?" stands for any, and whether a kind
     * is so rare that its decoder loads when it is needed.
     */
    export const FILES = ${inAscii(JSON.stringify(files))};

    /** What a description of the preprocessing may say: ways to fit a picture, orders of its colours, the longest side, the most channels. */
    export const PREPROCESS = ${JSON.stringify(preprocess)};`,
  ),
);
if (stale.length > 0) end();

const { ATTRIBUTES, propertyOf } = await import("../pkg/attributes.js");

await rewrite("pkg/index.d.ts", [
  [
    comment("names", "//"),
    [
      `export type Method = ${union(methods.map(({ name }) => name))};`,
      `export type Colormap = ${union(colormaps)};`,
      `/** What about a class is explained: its score, what speaks against it, or its score and its probability at once. */
      export type Target = ${union(targets)};`,
    ].join("\n\n"),
  ],
  [comment("attributes", "//"), ATTRIBUTES.map(declaration).join("\n")],
  [comment("markup", "//"), ATTRIBUTES.map(markup).join("\n")],
]);

await rewrite("README.md", [
  [
    comment("methods"),
    table(
      ["method", "passes", "what it does"],
      methods.map(({ name, title, paper, summary, forwardPasses }) => [
        `[${title}](${paper}) \`${name}\``,
        forwardPasses,
        summary,
      ]),
    ),
  ],
]);

await rewrite("pkg/README.md", [
  [
    comment("attributes"),
    table(
      ["attribute", "meaning", "default"],
      ATTRIBUTES.map((attribute) => [`\`${attribute.name}\``, describe(attribute), defaultOf(attribute)]),
    ),
  ],
]);

await writeManifest();
await writeElementPage();
await checkWords();
end();

/** Bytes that are no letters are read more easily by their numbers. */
function inAscii(text) {
  return text.replace(/[^ -~]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The property of an attribute, in TypeScript. */
function declaration(attribute) {
  const name = propertyOf(attribute.name);
  const { type, accepts } = typesOf(attribute);
  const doc = `/** ${attribute.description}${defaultOf(attribute) ? ` Default: ${defaultOf(attribute)}.` : ""} */\n`;
  return doc + (type === accepts ? `${name}: ${type};` : `get ${name}(): ${type};\nset ${name}(value: ${accepts});`);
}

/** The attribute in a template: frameworks set the property of that name where there is one. */
function markup(attribute) {
  const { accepts } = typesOf(attribute);
  const text = typeof attribute.default === "number" ? " | string" : "";
  return `"${attribute.name}"?: ${accepts}${text}${accepts.includes("null") ? "" : " | null"} | undefined;`;
}

function typesOf({ type, accepts, default: initial }) {
  type ??= initial === undefined ? "string | null" : typeof initial;
  return { type, accepts: accepts ?? type };
}

/** For people: all values only where there are few, the others are listed elsewhere. */
function describe({ description, values, name }) {
  if (!values) return description;
  const list = { method: "`METHODS`", colormap: "`COLORMAPS`" }[name];
  return `${description} ${list ? `One of ${list}.` : `One of ${values.map((value) => `\`${value}\``).join(", ")}.`}`;
}

function defaultOf({ default: initial, fallback }) {
  if (initial === false) return "off";
  return initial === undefined || initial === "" ? (fallback ?? "") : `\`${initial}\``;
}

/** The element's manifest for editors: the attributes and their properties; the rest of the file is written by hand. */
async function writeManifest() {
  const file = "pkg/custom-elements.json";
  const manifest = JSON.parse(await read(file));
  const element = manifest.modules
    .flatMap(({ declarations }) => declarations)
    .find(({ tagName }) => tagName === "grad-cam");
  element.attributes = ATTRIBUTES.map((attribute) => {
    const { name, description, values, default: initial, fallback } = attribute;
    // Editors offer the values that the type lists.
    const text = values ? values.map((value) => `'${value}'`).join(" | ") : attributeType(initial);
    const shown = initial === undefined || initial === "" ? fallback : String(initial);
    return { name, type: { text }, description, default: shown, fieldName: propertyOf(name) };
  });
  const fields = ATTRIBUTES.map((attribute) => ({
    kind: "field",
    name: propertyOf(attribute.name),
    type: { text: typesOf(attribute).type.replaceAll('"', "'") },
    description: attribute.description,
    attribute: attribute.name,
    reflects: true,
  }));
  element.members = [...fields, ...element.members.filter(({ attribute }) => attribute === undefined)];
  await write(file, await format(file, JSON.stringify(manifest)));
}

/** The element's page, from its manifest: whatever an editor offers is described for people, too. */
async function writeElementPage() {
  const { modules } = JSON.parse(await read("pkg/custom-elements.json"));
  const element = modules.flatMap(({ declarations }) => declarations).find(({ tagName }) => tagName === "grad-cam");
  const code = (text) => (text ? `\`${text.replaceAll("|", "\\|")}\`` : "");
  const parameters = ({ parameters = [] }) =>
    parameters.map(({ name, optional }) => name + (optional ? "?" : "")).join(", ");
  const of = (kind) => element.members.filter((member) => member.kind === kind && !member.attribute);
  const returned = (method) => method.return?.type.text ?? "void";
  await rewrite("docs/element.md", [
    [
      comment("element"),
      [
        "## Attributes",
        table(
          ["attribute", "property", "meaning", "default"],
          ATTRIBUTES.map((attribute) => [
            code(attribute.name),
            code(propertyOf(attribute.name)),
            describe(attribute),
            defaultOf(attribute),
          ]),
        ),
        "## Properties and methods",
        table(
          ["name", "type", "meaning"],
          [
            ...of("field").map(({ name, type, description }) => [code(name), code(type.text), description]),
            ...of("method").map((method) => [
              code(`${method.name}(${parameters(method)})`),
              code(returned(method)),
              method.description,
            ]),
          ],
        ),
        "## Events",
        table(
          ["event", "type", "when"],
          element.events.map(({ name, type, description }) => [code(name), code(type.text), description]),
        ),
        "## Parts, custom properties, states",
        "`grad-cam::part(caption) { … }`, `grad-cam { --grad-cam-accent: … }`, `grad-cam:state(loading) { … }`.",
        table(
          ["name", "meaning", "default"],
          [
            ...element.cssParts.map(({ name, description }) => [code(`::part(${name})`), description, ""]),
            ...element.cssProperties.map((property) => [
              code(property.name),
              property.description,
              code(property.default),
            ]),
            ...element.cssStates.map(({ name, description }) => [code(`:state(${name})`), description, ""]),
          ],
        ),
      ].join("\n\n"),
    ],
  ]);
}

function attributeType(initial) {
  return initial === undefined ? "string" : typeof initial;
}

/** The page has a few words about each method, which no table but its own can know. */
async function checkWords() {
  const source = await read("www/methods.js");
  for (const { name } of methods) {
    if (!new RegExp(`^  "?${RegExp.escape?.(name) ?? name.replaceAll("+", "\\+")}"?: \\{`, "m").test(source)) {
      stale.push(`www/methods.js has no words about the method ${name}: what it shows and when it misleads`);
    }
  }
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** How a generated part begins and ends. @param {string} name @param {"//" | undefined} slashes */
function comment(name, slashes) {
  const [open, close] = slashes ? ["// ", ""] : ["<!-- ", " -->"];
  return [`${open}${name}: written by cargo xtask codegen${close}`, `${open}end of ${name}${close}`];
}

/** Writes the parts of a file that lie between comments. */
async function rewrite(file, parts) {
  let source = await read(file);
  for (const [[first, last], content] of parts) {
    const [from, to] = [source.indexOf(first), source.indexOf(last)];
    if (from < 0 || to < from) throw new Error(`${file} has no lines "${first}" and "${last}"`);
    source = `${source.slice(0, from)}${first}\n\n${content}\n\n${source.slice(to)}`;
  }
  await write(file, file.endsWith(".md") ? source : await format(file, source));
}

async function format(file, source) {
  const filepath = new URL(file, root).pathname;
  return prettier.format(source, { ...(await prettier.resolveConfig(filepath)), filepath });
}

function read(file) {
  return readFile(new URL(file, root), "utf8");
}

async function write(file, content) {
  if ((await read(file).catch(() => "")) === content) return;
  if (isCheck) stale.push(`${file} is not as its table says: run \`cargo xtask codegen\``);
  else {
    await writeFile(new URL(file, root), content);
    console.log(`wrote ${file}`);
  }
}

function end() {
  if (stale.length > 0) console.error(stale.join("\n"));
  process.exit(stale.length > 0 ? 1 : 0);
}
