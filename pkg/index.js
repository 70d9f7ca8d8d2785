// gradcam-web: see why an image classifier said what it said, in the browser. Types and words: index.d.ts.

export * from "./api.js";
export { GradCamElement } from "./element.js";
