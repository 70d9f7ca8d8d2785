// `<grad-cam>` in Solid: import type {} from "gradcam-web/types/solid";

import type { JSX } from "solid-js";
import type { GradCamElement, GradCamEventMap, GradCamProps } from "../index.js";

type Handlers = { [Name in keyof GradCamEventMap as `on:${Name}`]?: (event: GradCamEventMap[Name]) => void };

declare module "solid-js" {
  namespace JSX {
    interface IntrinsicElements {
      "grad-cam": Omit<JSX.HTMLAttributes<GradCamElement>, keyof GradCamProps> & GradCamProps & Handlers;
    }
  }
}
