"""Writes `guided.safetensors`: Guided Grad-CAM of three networks of `make_cams.py` at the layer `late`, top class.

Layout (f32), NAME in `flatten`, `residual`, `golden_tiny`:
- `NAME/CLASS/guided-backprop/map` [c,H,W]: pytorch-grad-cam's, with which captum's agrees;
- `NAME/CLASS/guided-grad-cam/map` [c,H,W]: that, times pytorch-grad-cam's final Grad-CAM map (its example then only
  stretches the contrast for display);
- `NAME/CLASS/guided-grad-cam@captum/map` [c,H,W]: captum's: times the rectified raw map, enlarged by nearest neighbour;
- `NAME/CLASS/guided-grad-cam@captum-bilinear/map`: the same, enlarged bilinearly (half-pixel centres).

`__metadata__` (JSON): `classes` { NAME: CLASS }, `versions`.
"""

import copy
import warnings

import captum.attr
import numpy as np
import pytorch_grad_cam as pgc
import torch

from fixture import HERE, save, versions
from make_cams import ClassifierOutputTarget, GoldenTiny, layer_name, networks, run_pgc


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    tiny = ("golden_tiny", GoldenTiny().eval(), torch.arange(16.0).view(1, 1, 4, 4))
    chosen = [(name, model, x) for name, model, x, *_ in networks() if name in ("flatten", "residual")] + [tiny]
    tensors, classes = {}, {}
    for name, model, x in chosen:
        with torch.no_grad():
            category = int(model(x)[0].argmax())
        classes[name] = category
        guided = pgc.GuidedBackpropReLUModel(copy.deepcopy(model), device="cpu")(x.clone(), category).transpose(2, 0, 1)
        theirs = captum.attr.GuidedBackprop(copy.deepcopy(model)).attribute(x.clone().requires_grad_(), target=category)
        np.testing.assert_allclose(theirs[0].detach().numpy(), guided, rtol=1e-4, atol=1e-5 * np.abs(guided).max())
        path = layer_name(model, model.layers["late"])
        heatmap = run_pgc(pgc.GradCAM, model, path, x, ClassifierOutputTarget(category))["heatmap"]
        tensors[f"{name}/{category}/guided-backprop/map"] = guided
        tensors[f"{name}/{category}/guided-grad-cam/map"] = guided * heatmap
        for suffix, mode in (("", "nearest"), ("-bilinear", "bilinear")):
            copied = copy.deepcopy(model)
            layer = dict(copied.named_modules())[path]
            attribution = captum.attr.GuidedGradCam(copied, layer).attribute(
                x.clone().requires_grad_(), target=category, interpolate_mode=mode
            )
            tensors[f"{name}/{category}/guided-grad-cam@captum{suffix}/map"] = attribution[0].detach().numpy()
    save(HERE / "guided.safetensors", tensors, {"classes": classes, "versions": versions("torch", "grad-cam", "captum")})


if __name__ == "__main__":
    main()
