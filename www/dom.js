// Making and finding nodes.

export const $ = (id) => document.getElementById(id);

/** For those who hear the page: said once what was long awaited is there. @param {string} sentence */
export function announce(sentence) {
  $("announcer").textContent = sentence;
}

/** @param {string} tag @param {object} [properties] @param {...(Node | string)} children */
export function create(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/** The buttons of a list take one stop of the keyboard together, and arrow keys move between them. @param {HTMLElement} list */
export function moveByArrows(list) {
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")];
    const to = buttons[buttons.indexOf(event.target) + STEPS[event.key]];
    if (!to) return;
    event.preventDefault();
    to.focus();
  });
  // Where one was last, one comes back to.
  list.addEventListener("focusin", ({ target }) => {
    if (target === list) return;
    for (const button of list.querySelectorAll("button")) button.tabIndex = button === target ? 0 : -1;
  });
}
