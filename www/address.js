// What a link to this page carries, kept up to date in the address bar.

const DEFAULTS = { method: "grad-cam", colormap: "turbo", opacity: "0.5", backend: "auto" };
const NAMES = ["src", "model", "method", "class", "layer", "colormap", "opacity", "backend"];

/** The page's parameters: `src`, `model`, `class` and `layer` are undefined unless the address names them. */
export function readAddress() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? DEFAULTS[name]]));
}

/** Puts the parameters that differ from their defaults into the address bar. @param {Record<string, string | undefined>} parameters */
export function writeAddress(parameters) {
  const query = new URLSearchParams();
  for (const name of NAMES) {
    const value = parameters[name];
    if (value !== undefined && value !== null && String(value) !== DEFAULTS[name]) query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}
