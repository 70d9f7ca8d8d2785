// Names of classes, as people and programs write them down.

/** Where objects have them, such as a config.json of Hugging Face. */
const FIELDS = ["id2label", "names", "classes", "class_names", "label2id"];

/**
 * The names in a text: JSON, a list or dict of Python's, what YAML has below `names:`, else one a line. Numbers before them
 * put them in order, and WordNet's ids are left out. It takes no longer than the text, whatever that is.
 *
 * @param {string} text @returns {string[] | undefined} none where there is a list or an object, but not of names
 */
export function namesIn(text) {
  const trimmed = text.trim();
  if (/^[[{]/.test(trimmed)) return namesOf(parsed(trimmed) ?? parsed(jsonOf(trimmed)));
  // A tuple, or a name in brackets.
  const tuple = trimmed.startsWith("(") ? namesOf(parsed(jsonOf(trimmed))) : undefined;
  if (tuple) return tuple;
  return yamlNames(trimmed) ?? numberedIn(trimmed) ?? plainNames(trimmed);
}

/** The names in a list, or in an object: by their numbers, the other way round, or in a field. @param {any} content */
export function namesOf(content) {
  return listed(content) ?? FIELDS.map((field) => listed(content?.[field])).find(Boolean);
}

function listed(content) {
  if (typeof content !== "object" || content === null) return undefined;
  if (Array.isArray(content)) return content.every(isName) ? content.map(String) : undefined;
  const entries = Object.entries(content);
  const isByNumber = entries.every(([key]) => isWhole(key));
  // torchvision writes {"0": ["n01440764", "tench"]}.
  return inOrder(entries.map(([key, value]) => (isByNumber ? [key, [value].flat().at(-1)] : [value, key])));
}

/** Names behind their numbers, if each line but a first one that heads a table has one. @param {string} text */
export function numberedIn(text) {
  const lines = linesOf(text).map((line) => NUMBERED.exec(line));
  const pairs = lines[0] ? lines : lines.slice(1);
  if (pairs.length < 2 || !pairs.every((pair) => pair && !Number.isFinite(Number(pair[2])))) return undefined;
  return inOrder(pairs.map(([, number, name]) => [number, unquoted(name)]));
}

/** `0 cat`, `0: cat`, `0,cat` */
const NUMBERED = /^["']?(\d+)["']?(?:\s*[:,;=]\s*|\s+)(.+)$/;

/** One name a line; of several words for one thing, as WordNet has them behind its id, the first. */
function plainNames(text) {
  const lines = linesOf(text);
  if (!lines.every((line) => /^n\d{8}[\s,]/.test(line))) return lines;
  return lines.map((line) => line.slice(10).split(",")[0].trim());
}

/** What a data set's description has below `names:`, or in its line. */
function yamlNames(text) {
  const [, line, below] = /^names:[ \t]*(.*)\n?((?:[ \t-].*(?:\n|$))*)/m.exec(text) ?? [];
  if (line === undefined) return undefined;
  const list = line.trim();
  const items = list ? list.replace(/^[[{]|[\]}]$/g, "").split(",") : linesOf(below.trim());
  const names = items.map((item) => item.trim().replace(/^- +/, ""));
  return (list && namesIn(list)) || numberedIn(names.join("\n")) || names.map(unquoted);
}

/** Names by their numbers, from 0 or 1 on. @param {[unknown, unknown][]} pairs in whatever order */
function inOrder(pairs) {
  if (!pairs.every(([number, name]) => isWhole(number) && isName(name))) return undefined;
  const sorted = [...pairs].sort(([a], [b]) => Number(a) - Number(b));
  const first = Number(sorted[0]?.[0]);
  const isList = first === 0 || (first === 1 && pairs.length > 1);
  if (!isList || sorted.some(([number], i) => Number(number) !== first + i)) return undefined;
  return sorted.map(([, name]) => String(name));
}

const isName = (value) => typeof value === "string" || typeof value === "number";
const isWhole = (value) => isName(value) && /^\d+$/.test(String(value));
const linesOf = (text) => text.split("\n").map((line) => line.trim());
const unquoted = (text) => text.replace(/^(["'])(.*)\1$/, "$2");

function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** What Python writes behind a backslash: a letter's number in two, four or eight digits, or one letter. */
const ESCAPE = /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([^]))/g;
const BLANKS = { n: "\n", t: "\t", r: "\r" };

function unescaped(whole, two, four, eight, letter) {
  if (letter !== undefined) return BLANKS[letter] ?? letter;
  const code = Number.parseInt(two ?? four ?? eight, 16);
  return code > 0x10ffff ? whole : String.fromCodePoint(code);
}

/** A literal of Python's as JSON: its strings have other quotes, its keys may be numbers, and its last comma is one too many. */
function jsonOf(python) {
  // What has no end matches to the end, so that nothing is read twice.
  const part = /([()])|'((?:[^'\\]|\\.)*)(?:'|$)|"((?:[^"\\]|\\.)*)(?:"|$)|(\d+)(\s*:)?|,(\s*)(?=[)}\]])/g;
  return python.replace(part, (whole, bracket, single, double, number, colon, space) => {
    if (bracket !== undefined) return bracket === "(" ? "[" : "]";
    if (space !== undefined) return space;
    if (number !== undefined) return colon ? `"${number}":` : number;
    return JSON.stringify((single ?? double).replace(ESCAPE, unescaped));
  });
}
