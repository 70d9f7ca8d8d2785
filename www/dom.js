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
