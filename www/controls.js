// How the heatmap is made and drawn: the controls that set one thing each.

import { COLORMAPS, METHODS } from "./gradcam-web/api.js";
import { $, create } from "./dom.js";
import { createColormapChoice } from "./legend.js";
import { wordsAbout } from "./methods.js";
import { DEFAULTS } from "./store.js";

export class Controls {
  /** @param {import("./store.js").Store} store */
  constructor(store) {
    const choose = (change) => store.set(change);
    $("method").append(...METHODS.map(({ name, title }) => new Option(title, name)));
    $("method").addEventListener("change", ({ target }) => choose({ method: target.value }));
    $("opacity").addEventListener("input", ({ target }) => choose({ opacity: target.value }));
    $("reset").addEventListener("click", () => store.reset());
    createColormapChoice($("colormaps"), COLORMAPS, (colormap) => choose({ colormap }));
  }

  /** @param {import("./store.js").Settings} state */
  select({ method, opacity, colormap }) {
    $("method").value = method;
    const found = METHODS.find(({ name }) => name === method);
    const paper =
      found && create("a", { href: found.paper, textContent: "Paper", rel: "noreferrer", target: "_blank" });
    $("method-summary").replaceChildren(...(found ? [found.summary, " ", paper] : []));
    const { shows, misleads } = wordsAbout(method);
    $("method-shows").textContent = shows;
    $("method-misleads").textContent = misleads;
    $("opacity").value = opacity;
    // Where the slider is: another number is the element's to refuse.
    const percent = `${Math.round(100 * $("opacity").valueAsNumber)} %`;
    $("opacity-value").textContent = percent;
    $("opacity").setAttribute("aria-valuetext", percent);
    const radio = document.querySelector(`#colormaps input[value="${CSS.escape(colormap)}"]`);
    if (radio) radio.checked = true;
  }
}

/** The ways to smooth a map. */
const SMOOTH = ["aug", "eigen"];

/**
 * What a link asks for that does not exist: the change to what is usual, and a sentence about it.
 * @param {import("./store.js").Settings} state
 */
export function repaired(state) {
  const { smooth = [] } = state;
  const known = smooth.filter((kind) => SMOOTH.includes(kind));
  const exists = {
    method: METHODS.some(({ name }) => name === state.method),
    colormap: COLORMAPS.includes(state.colormap),
    opacity: Number(state.opacity) >= 0 && Number(state.opacity) <= 1,
    target: [...$("target").options].some(({ value }) => value === state.target && value !== "rather-than"),
    smooth: known.length === smooth.length,
  };
  const usual = { ...DEFAULTS, smooth: known.length > 0 ? known : undefined };
  const wrong = Object.keys(exists).filter((name) => !exists[name]);
  const unknown = { ...state, smooth: smooth.filter((kind) => !known.includes(kind)) };
  const asked = wrong.map((name) => `${name} "${unknown[name]}"`).join(", ");
  return {
    change: Object.fromEntries(wrong.map((name) => [name, usual[name]])),
    sentence: asked && `The link asks for what does not exist: ${asked}. The usual is shown in its place.`,
  };
}
