// What takes longest is on its way before the page's other scripts are all here: the engine with its worker, and the network.

import { MODELS, PACKED } from "./gradcam-web/models.js";
import { EngineWorker } from "./gradcam-web/worker-client.js";

const asked = new URLSearchParams(location.search);
if (asked.get("backend") !== "webgpu") EngineWorker.prewarm("cpu");
// Another one may have been dropped here before a reload.
if (!asked.get("model") && !history.state?.local) {
  PACKED[MODELS[0].name]().then(
    ({ FILE: { href } }) => {
      const link = document.createElement("link");
      document.head.append(Object.assign(link, { rel: "preload", as: "fetch", crossOrigin: "anonymous", href }));
    },
    // Whoever needs it says so.
    () => {},
  );
}
