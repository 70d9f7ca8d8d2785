// The strip under the picture: photos that came together, and samples.

import { $, create, moveByArrows } from "./dom.js";
import { SAMPLES } from "./samples.js";

export class Gallery {
  #onChoose;
  /** Whether the small pictures may come: not before the picture that was asked for. */
  #isOpen = false;
  #own = [];

  /** @param {HTMLElement} picture @param {(image: Blob | string, title: string) => void} onChoose */
  constructor(picture, onChoose) {
    this.#onChoose = onChoose;
    this.#list();
    moveByArrows($("samples"));
    for (const type of ["explain", "error"]) picture.addEventListener(type, () => this.#open(), { once: true });
    // A slow method does not hold them up.
    picture.addEventListener("load", () => setTimeout(() => this.#open(), 1000), { once: true });
  }

  /** Photos that came together: the first is shown, the others wait here. @param {File[]} photos */
  add(photos) {
    this.#own = photos.map((photo) => ({ title: photo.name, image: photo, thumbnail: URL.createObjectURL(photo) }));
    this.#list();
  }

  #open() {
    this.#isOpen = true;
    for (const image of $("samples").querySelectorAll("img")) image.src = image.dataset.src;
  }

  #list() {
    const samples = SAMPLES.map(({ file, title }) => ({
      title,
      image: new URL(`samples/${file}`, document.baseURI).href,
      thumbnail: `samples/small/${file}`,
    }));
    const items = [...this.#own, ...samples].map(({ title, image, thumbnail }, i) => {
      const small = create("img", { alt: title, width: 96, height: 64 });
      small.dataset.src = thumbnail;
      if (this.#isOpen) small.src = thumbnail;
      const button = create("button", { type: "button", tabIndex: i === 0 ? 0 : -1 }, small);
      button.addEventListener("click", () => this.#onChoose(image, title));
      return create("li", {}, button);
    });
    $("samples")
      .querySelector("ul")
      .replaceChildren(...items);
  }
}
