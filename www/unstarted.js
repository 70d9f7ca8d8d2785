// A sentence for browsers that can't run the page's modules, in words that old ones know.

(function () {
  function tell() {
    const sentence = document.getElementById("unstarted");
    if (!sentence) return document.addEventListener("DOMContentLoaded", tell);
    // The page says itself what fails from here on.
    if (!document.documentElement.hasAttribute("data-started")) sentence.hidden = false;
  }
  // Scripts that don't come, or that the browser can't read: such errors do not bubble.
  addEventListener("error", function (event) {
    if (event.target === window || event.target.tagName === "SCRIPT") tell();
  }, true);
  addEventListener("unhandledrejection", tell);
  if (!("noModule" in document.createElement("script")) || !window.WebAssembly) tell();
})();
