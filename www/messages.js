// Progress, errors and notices: in sight wherever the page is scrolled to, and there until they are read.

import { $ } from "./dom.js";

/** What each kind of error means for a person. */
const TITLES = {
  ImageError: "This picture can't be used",
  ModelError: "This network can't be used",
  UnsupportedError: "Not possible with this network",
  TargetError: "This choice does not exist",
  DeviceError: "The computation failed",
};

export function showProgress(text, fraction, canStop = false) {
  const percent = Math.round(100 * fraction);
  $("progress").hidden = false;
  $("progress-stop").hidden = !canStop;
  $("progress-value").setAttribute("aria-valuenow", percent);
  $("progress-bar").style.transform = `scaleX(${fraction})`;
  $("progress-text").textContent = `${text} … ${percent} %`;
}

export function hideProgress() {
  $("progress").hidden = true;
}

/** What the button in the message does. @type {(() => void) | undefined} */
let again;

/**
 * @param {{ name: string, message: string, what?: string }} error `what` is the file that can't be used
 * @param {{ picture?: string, retry?: () => void }} [about] what a picture that can't be used is called, and how to try again
 */
export function showError({ name, message, what }, { picture, retry } = {}) {
  what ??= name === "ImageError" ? picture : undefined;
  hideProgress();
  again = retry;
  $("error-retry").hidden = !retry;
  $("error").hidden = false;
  $("error").dataset.name = name;
  const title = TITLES[name] ?? name;
  $("error-name").textContent = what ? title.replace(/^This (picture|network)/, () => what) : title;
  $("error-message").textContent = message;
}

/** Says what is no error. */
export function showNotice(sentence) {
  $("notice").textContent = sentence;
  $("notice").hidden = false;
}

export function hideMessages() {
  $("error").hidden = $("notice").hidden = true;
}

/** @param {string} id of what says how it went */
export async function copy(text, id, done) {
  try {
    await navigator.clipboard.writeText(text);
    $(id).textContent = done;
  } catch {
    $(id).textContent = `The browser does not allow copying here: ${text}`;
  }
}

for (const id of ["error-close", "notice-close"]) $(id).addEventListener("click", hideMessages);
$("error-retry").addEventListener("click", () => {
  hideMessages();
  again?.();
});
addEventListener("keydown", ({ key }) => key === "Escape" && !document.querySelector("dialog[open]") && hideMessages());
