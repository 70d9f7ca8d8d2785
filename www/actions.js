// What can be done with a heatmap: see the photo without it, save it, hand it on.

import { $, create } from "./dom.js";
import { embedCode, figureOf, fileName } from "./format.js";
import { copy, hideMessages, showError } from "./messages.js";

/**
 * @param {import("./store.js").Store} store @param {import("gradcam-web").GradCamElement} picture
 * @param {import("./stage.js").Stage} stage
 */
export function watchActions(store, picture, stage) {
  watchPeek(picture);
  $("save").addEventListener("click", () => save(store, picture, stage, () => picture.toBlob()));
  // For papers and slides: with what the colours mean below it.
  $("save-figure").addEventListener("click", () => {
    const { colormap, opacity } = store.state;
    void save(store, picture, stage, () => stage.shown.toFigure({ colormap, opacity: Number(opacity) }), "figure");
  });
  $("link").addEventListener("click", async () => {
    const { src, own } = store.state;
    const local = [src instanceof Blob && "the photo", own && "the model"].filter(Boolean).join(" and ");
    const rest = local && ` ${local[0].toUpperCase()}${local.slice(1)} stayed on this device and is not in it.`;
    await copy(location.href, "action-status", `Link copied.${rest}`);
  });
  $("embed").addEventListener("click", () => {
    const { own, model } = store.state;
    const label = picture.prediction?.model.labels[Number(store.state.class)];
    const shown = {
      ...store.state,
      src: typeof picture.src === "string" ? picture.src : undefined,
      alt: picture.alt,
      seen: picture.prediction?.top(1)[0].label,
      label,
      model: own ? "model.json" : model,
    };
    $("embed-code").textContent = embedCode(shown);
    $("embed-preview").replaceChildren(figureLike(picture, shown));
    $("embed-status").textContent = "";
    $("embed-dialog").showModal();
  });
  $("embed-dialog").addEventListener("close", () => $("embed-preview").replaceChildren());
  $("embed-copy").addEventListener("click", () => copy($("embed-code").textContent, "embed-status", "Copied."));
  $("what").addEventListener("click", () => $("what-dialog").showModal());
}

/** @param {() => Promise<Blob>} draw @param {string} [kind] for the file's name */
async function save(store, picture, stage, draw, kind) {
  // What went wrong before was read.
  hideMessages();
  // Something else may be chosen before the file is there.
  const { width, height } = picture.prediction.image;
  const name = nameOf(store, picture, stage, kind);
  $("action-status").textContent = "Saving …";
  const blob = await draw().catch(showError);
  if (!blob) return ($("action-status").textContent = "");
  const anchor = create("a", { href: URL.createObjectURL(blob), download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
  $("action-status").textContent = kind
    ? "Saved, with what the colours mean below it."
    : `Saved at ${width} × ${height} pixels.`;
}

/** A name for the file of what is shown. */
function nameOf(store, picture, stage, kind) {
  const { method, targetClass } = picture.explanation;
  const label = picture.prediction.model.labels[targetClass];
  const words = [fileName(store.state), stage.shownName ?? `${method}-${label}`, kind]
    .filter(Boolean)
    .map((word) => word.replace(/[^\p{L}\p{N}._+-]+/gu, "-"));
  return `${words.join("-")}.png`;
}

/** What the code shows, of the photo and the network that are there: those of a visitor have no address. */
function figureLike(picture, shown) {
  const figure = create("grad-cam", { loading: "eager" });
  for (const [name, value] of figureOf(shown).attributes)
    if (name !== "src" && name !== "model") figure.setAttribute(name, value);
  return Object.assign(figure, { src: picture.src, model: picture.model, targetLayer: picture.targetLayer });
}

/** The photo alone, as long as a button or the key O is held. */
function watchPeek(picture) {
  const peek = $("peek");
  let holding = false;
  const hold = (on) => {
    if (holding === on) return;
    holding = on;
    picture.showOriginal(on);
    peek.classList.toggle("held", on);
  };
  peek.addEventListener("pointerdown", (event) => {
    peek.setPointerCapture(event.pointerId);
    hold(true);
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"])
    peek.addEventListener(type, () => hold(false));
  peek.addEventListener("contextmenu", (event) => event.preventDefault());
  const holds = ({ key, target, ctrlKey, metaKey, altKey }) => {
    if (ctrlKey || metaKey || altKey) return false;
    if (target === peek) return [" ", "Enter", "o", "O"].includes(key);
    return (key === "o" || key === "O") && !target.closest("input, select, textarea");
  };
  addEventListener("keydown", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    hold(true);
  });
  addEventListener("keyup", () => hold(false));
  addEventListener("blur", () => hold(false));
}
