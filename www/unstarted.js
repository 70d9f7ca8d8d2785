// Before the page's modules run: what is dropped, pasted or pressed is kept for them; and a sentence for browsers that can't
// run them. In words that old browsers know.

(function () {
  const root = document.documentElement;
  const isStarted = function () {
    return root.hasAttribute("data-started");
  };
  // What a transfer holds is gone when its event ends: it is copied at once.
  window.early = [];
  const keep = function (event, transfer) {
    const files = Array.prototype.slice.call(transfer.files);
    const items = Array.prototype.map.call(transfer.items || [], function (item) {
      const entry = item.webkitGetAsEntry && item.webkitGetAsEntry();
      return {
        webkitGetAsEntry: function () {
          return entry;
        },
      };
    });
    const text = { "text/uri-list": transfer.getData("text/uri-list"), "text/plain": transfer.getData("text/plain") };
    const getData = function (type) {
      return text[type];
    };
    event.preventDefault();
    window.early.push({ files: files, items: items, getData: getData });
  };
  addEventListener("dragover", function (event) {
    if (!isStarted()) event.preventDefault();
  });
  addEventListener("drop", function (event) {
    if (!isStarted()) keep(event, event.dataTransfer);
  });
  addEventListener("paste", function (event) {
    if (!isStarted() && event.clipboardData) keep(event, event.clipboardData);
  });
  addEventListener("click", function (event) {
    const button = !isStarted() && event.target.closest && event.target.closest("[data-action]");
    if (!button) return;
    const inputs = { choose: "file", camera: "camera", "choose-model": "model-file" };
    document.getElementById(inputs[button.getAttribute("data-action")]).click();
  });

  function tell() {
    const sentence = document.getElementById("unstarted");
    if (!sentence) return document.addEventListener("DOMContentLoaded", tell);
    // The page says itself what fails from here on.
    if (isStarted()) return;
    sentence.hidden = false;
    // What invites would do so in vain.
    root.setAttribute("data-failed", "");
  }
  // Scripts that don't come, or that the browser can't read: such errors do not bubble.
  addEventListener(
    "error",
    function (event) {
      if (event.target === window || event.target.tagName === "SCRIPT") tell();
    },
    true,
  );
  addEventListener("unhandledrejection", tell);
  if (!("noModule" in document.createElement("script")) || !window.WebAssembly) tell();
})();
