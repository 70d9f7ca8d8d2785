// The comparison's table for people.

/** Name, key, and whether less is better. */
const ROWS = [
  ["load to ready", "ready", "ms"],
  ["first result", "first", "ms"],
  ["forward", "forward", "ms"],
  ["Grad-CAM", "gradCam", "ms"],
  ["another class", "anotherClass", "ms"],
  ["another method", "anotherMethod", "ms"],
  ["FullGrad", "fullGrad", "ms"],
  ["guided backpropagation", "guided", "ms"],
  ["opacity change", "opacity", "ms"],
  ["frames a second", "frame", "1/s"],
  ["peak memory", "memory", "MB"],
];

/** What is compared with our own forward pass, too. */
const OWN_FORWARDS = new Set(["gradCam", "anotherClass", "fullGrad", "guided"]);

/** Contestants of our own; the first is compared with the peers, and so is the other, where it takes part. */
const OURS = ["gradcam-web", "gradcam-web relaxed"];

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Prints one network's rows: median and minimum of each contestant, and ours divided by the fastest peer's. */
export function printNetwork({ network, backend, browser, layer, rounds, agreement, refusals, contestants }) {
  const names = Object.keys(contestants);
  console.log(
    `\n${network}, ${backend}, ${browser}, one thread, target layer ${layer}, ${rounds} rounds: median (minimum)`,
  );
  printRow("", names, "ours / fastest peer");
  for (const [title, key, unit] of ROWS) {
    const figures = names.map((name) => contestants[name][key]);
    if (!figures[0]) continue;
    // Of frames the time was taken, as of everything; a second is divided by it.
    const shown = (value) => (unit === "1/s" ? 1000 / value : value);
    const cells = figures.map((values) =>
      values ? `${shown(median(values)).toFixed(1)} (${shown(Math.min(...values)).toFixed(1)})` : "-",
    );
    printRow(
      `${title}, ${unit}`,
      cells,
      ratios(names, (name) => contestants[name][key] && median(contestants[name][key]), unit),
    );
  }
  const compared = (name) => median(contestants[name][OURS.includes(name) ? "gradCam" : "forward"]);
  printRow(
    "Grad-CAM / a peer's forward",
    names.map(() => ""),
    ratios(names, compared, "ms"),
  );
  const own = OURS.filter((name) => contestants[name]);
  for (const [title, key] of ROWS.filter(([, key]) => OWN_FORWARDS.has(key) && contestants[own[0]][key])) {
    const inForwards = (name) => (median(contestants[name][key]) / median(contestants[name].forward)).toFixed(2);
    console.log(`${`${title} / own forward`.padEnd(38)}${own.map(inForwards).join(" ")}`);
  }
  for (const kind of ["raw", "brotli"]) {
    const bytes = names.map((name) => contestants[name].bytes?.[kind]);
    const sizeOf = (name) => contestants[name].bytes?.[kind];
    if (bytes[0])
      printRow(
        `code ${kind}, kB`,
        bytes.map((size) => (size === undefined ? "-" : (size / 1000).toFixed(0))),
        ratios(names, sizeOf, "kB"),
      );
  }
  for (const [what, reason] of Object.entries(refusals)) console.log(`left out: ${what}: ${reason}`);
  console.log(
    `largest differences: ${Object.entries(agreement)
      .map(([what, distance]) => `${what} ${distance.toExponential(0)}`)
      .join("; ")}`,
  );
}

function printRow(title, cells, ratio) {
  console.log(title.padEnd(28) + cells.map((cell) => cell.padStart(20)).join("") + ratio.padStart(22));
}

/** Of each of our own contestants, what it has divided by what the best peer has. */
function ratios(names, figure, unit) {
  const others = names
    .filter((name) => !OURS.includes(name))
    .map(figure)
    .filter((value) => value !== undefined);
  if (others.length === 0) return "-";
  const fastest = Math.min(...others);
  const own = names.filter((name) => OURS.includes(name)).map(figure);
  return own.map((value) => (unit === "1/s" ? fastest / value : value / fastest).toFixed(2)).join(" ");
}
