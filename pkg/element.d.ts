export { GradCamElement } from "./index.js";
