// `<grad-cam>` in the templates of Vue: import type {} from "gradcam-web/types/vue";

import type { HTMLAttributes } from "vue";
import type { GradCamEventMap, GradCamProps } from "../index.js";

type Handlers = { [Name in keyof GradCamEventMap as `on${Capitalize<Name>}`]?: (event: GradCamEventMap[Name]) => void };

declare module "vue" {
  interface GlobalComponents {
    "grad-cam": new () => {
      $props: Omit<HTMLAttributes, keyof GradCamProps | keyof Handlers> & GradCamProps & Handlers;
    };
  }
}
