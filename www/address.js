// What a link to this page carries, kept up to date in the address bar.

const DEFAULTS = { method: "grad-cam", target: "score", colormap: "turbo", opacity: "0.5", backend: "auto" };
const NAMES = ["src", "model", "method", "class", "layer", "target", "rather-than", "smooth", "colormap", "opacity", "backend"];

/** How long to leave the address bar alone after the browser refused to change it again, in milliseconds. */
const PAUSE = 1000;

let later;

/**
 * The page's parameters: `src`, `model`, `class` and `layer` are undefined unless the address names them. `layer` is a
 * list: of several layers the mean is shown. `smooth` is aug, eigen or both. Forms send what was left empty, too, so an
 * empty parameter is none.
 */
export function readAddress() {
  const query = new URLSearchParams(location.search);
  const parameters = Object.fromEntries(NAMES.map((name) => [name, query.get(name) || DEFAULTS[name]]));
  const list = (name) => {
    const values = query.getAll(name).filter(Boolean);
    return values.length > 0 ? values : undefined;
  };
  return { ...parameters, layer: list("layer"), smooth: list("smooth") };
}

/**
 * Puts the parameters that differ from their defaults into the address bar.
 * @param {Record<string, string | string[] | undefined>} parameters
 */
export function writeAddress(parameters) {
  const query = new URLSearchParams();
  for (const name of NAMES) {
    const isUsual = (value) => value === undefined || value === null || String(value) === DEFAULTS[name];
    for (const value of [parameters[name]].flat().filter((value) => !isUsual(value))) query.append(name, value);
  }
  const text = query.toString();
  clearTimeout(later);
  // Even an address that stays the same takes the browser some milliseconds.
  if (text === new URLSearchParams(location.search).toString()) return;
  try {
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  } catch {
    // Safari takes a hundred changes in half a minute, and a slider makes more.
    later = setTimeout(writeAddress, PAUSE, parameters);
  }
}
