// The figure alone, for a frame in another page: `embed.html?src=…&alt=…&model=…&method=…&class=…&controls&theme=dark`.
//
// The page that holds the frame learns how high the figure is by a message, so that it can give the frame that height.

/** Parameters that have another name as attributes; every other attribute has its own name. */
const ATTRIBUTES = { class: "target-class", layer: "target-layer" };

const asked = new URLSearchParams(location.search);
const theme = asked.get("theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;

if (asked.get("src")) {
  document.body.replaceChildren(figure());
  import("./gradcam-web/index.js");
} else {
  const sentence = "This frame names no picture: add ?src= and the picture's address to the frame's address.";
  document.body.replaceChildren(Object.assign(document.createElement("p"), { textContent: sentence }));
}

// The body's own box, not the window's: the frame gets lower again, too.
new ResizeObserver(() => {
  const height = Math.ceil(document.body.getBoundingClientRect().height);
  parent.postMessage({ type: "gradcam-web:height", height }, "*");
}).observe(document.body);

function figure() {
  const element = document.createElement("grad-cam");
  for (const [name, value] of asked) {
    // An attribute like `onclick` or `style` is nothing that a link may set.
    if (/^(on|style$|theme$|id$|slot$|is$)/.test(name) || !/^[a-z][a-z-]*$/.test(name)) continue;
    element.setAttribute(ATTRIBUTES[name] ?? name, value);
  }
  element.setAttribute("loading", "eager");
  // Until the heatmap is there, and where it can't come, the picture itself is seen.
  const image = document.createElement("img");
  image.alt = asked.get("alt") ?? "";
  image.src = asked.get("src");
  element.append(image);
  return element;
}
