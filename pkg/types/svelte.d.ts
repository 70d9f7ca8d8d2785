// `<grad-cam>` in Svelte 5: import type {} from "gradcam-web/types/svelte";

import type { HTMLAttributes } from "svelte/elements";
import type { GradCamElement, GradCamEventMap, GradCamProps } from "../index.js";

type Handlers = { [Name in keyof GradCamEventMap as `on${Name}`]?: (event: GradCamEventMap[Name]) => void };

declare module "svelte/elements" {
  interface SvelteHTMLElements {
    "grad-cam": Omit<HTMLAttributes<GradCamElement>, keyof GradCamProps | keyof Handlers> & GradCamProps & Handlers;
  }
}
