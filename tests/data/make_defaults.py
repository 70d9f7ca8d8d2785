"""Writes `defaults.safetensors`: maps of the network `flatten` of `make_cams.py` that depend on the package's own defaults.

Methods with noise draw this package's random numbers of seed 0 (`src/random.rs`: SplitMix64, then Box and Muller), occlusion
covers an eighth of each side and moves by half of that. Maps are torch-cam's and captum's.

Layout (f32): `late/CLASS/METHOD/map` [h,w] with METHOD in `ss-cam`, `smooth-grad-cam++` (also `spread`, as in `make_cams.py`);
`input/CLASS/occlusion/map` [H,W]. `__metadata__` (JSON): `class`, the top class, and `versions`.
"""

import warnings

import captum.attr
import numpy as np
import torch

from fixture import HERE, save, versions
from make_cams import SAMPLES, TableNoise, layer_name, networks, run_torchcam, smooth_grad_cam_plus_plus, tcm


def normals(count, seed=0):
    """SplitMix64 (Steele, Lea and Flood 2014), pairs of which Box and Muller turn into normal numbers."""
    state = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, 2 * count + 1, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    uniform = ((state ^ (state >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    first, second = uniform[::2], uniform[1::2]
    return torch.from_numpy((np.sqrt(-2 * np.log(1 - first)) * np.cos(2 * np.pi * second)).astype(np.float32))


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    model, x = next((model, x) for name, model, x, *_ in networks() if name == "flatten")
    layer = layer_name(model, model.layers["late"])
    with torch.no_grad():
        category = model(x)[0].argmax().item()
        channels = dict(model.named_modules())[layer[: layer.rindex(".")]](x).shape[1]
    samples, deviation = SAMPLES["ss-cam"]
    noise = TableNoise(normals(samples * channels * x[0, 0].numel()), deviation)
    masked = run_torchcam(tcm.SSCAM, model, layer, x, category, noise, num_samples=samples, std=deviation)
    smooth = smooth_grad_cam_plus_plus(model, layer, x, category, normals(SAMPLES["smooth-grad-cam++"][0] * x.numel()))
    window = [-(-side // 8) for side in x.shape[2:]]
    occluded = captum.attr.Occlusion(model).attribute(
        x,
        sliding_window_shapes=(x.shape[1], *window),
        strides=(x.shape[1], *(-(-side // 2) for side in window)),
        baselines=0,
        target=category,
    )
    tensors = {
        f"late/{category}/ss-cam/map": masked["map"],
        f"late/{category}/smooth-grad-cam++/map": smooth["map"],
        f"late/{category}/smooth-grad-cam++/spread": smooth["spread"],
        f"input/{category}/occlusion/map": occluded[0, 0].detach().numpy(),
    }
    save(HERE / "defaults.safetensors", tensors, {"class": category, "versions": versions("torch", "torchcam", "captum", "numpy")})
    print({name: float(np.abs(tensor).max()) for name, tensor in tensors.items()})


if __name__ == "__main__":
    main()
