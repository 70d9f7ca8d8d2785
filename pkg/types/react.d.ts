// `<grad-cam>` in React 19: import type {} from "gradcam-web/types/react";

import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type { GradCamElement, GradCamEventMap, GradCamProps } from "../index.js";

type Handlers = { [Name in keyof GradCamEventMap as `on${Name}`]?: (event: GradCamEventMap[Name]) => void };

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "grad-cam": DetailedHTMLProps<
        Omit<HTMLAttributes<GradCamElement>, keyof GradCamProps> & GradCamProps & Handlers,
        GradCamElement
      >;
    }
  }
}
