// `<grad-cam>` in Preact: import type {} from "gradcam-web/types/preact";

import type { HTMLAttributes } from "preact";
import type { GradCamElement, GradCamEventMap, GradCamProps } from "../index.js";

type Handlers = { [Name in keyof GradCamEventMap as `on${Name}`]?: (event: GradCamEventMap[Name]) => void };

declare module "preact" {
  namespace JSX {
    interface IntrinsicElements {
      "grad-cam": Omit<HTMLAttributes<GradCamElement>, keyof GradCamProps> & GradCamProps & Handlers;
    }
  }
}
