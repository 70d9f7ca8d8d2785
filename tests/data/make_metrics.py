"""Writes `metrics.safetensors`: how pytorch-grad-cam and torch-cam judge some of the maps in `cams/`.

Each JUDGED is `NAME/CLASS/METHOD`: a network of `make_cams.py`, its top class, and the method whose final map at the
layer `late` (pytorch-grad-cam's) is judged. torch-cam's measures get this very map instead of their own extractor's.
Scores are logits, except where `softmax` is said.

Layout (f32):
- `JUDGED/heatmap` [H,W]: the map;
- `JUDGED/change`, `/drop`, `/increase` []: pytorch-grad-cam's CamMultImageConfidenceChange (score of input * map minus
  score of input), DropInConfidence and IncreaseInConfidence; `JUDGED/change_softmax` [] with probabilities;
- `JUDGED/average_drop`, `/confidence_increase` []: torch-cam's ClassificationMetric, softmax;
- `JUDGED/fractions`, `/deletion`, `/insertion` [points], `/deletion_area`, `/insertion_area` []: torch-cam's
  DeletionInsertionMetric, softmax, 20 steps, baseline zero;
- `JUDGED/road_morf`, `/road_lerf` [9]: change of the score at the percentiles 10, 20, ... 90, most or least relevant
  first, imputation without its noise; `JUDGED/road` []: ROADCombined, the mean over percentiles of (LeRF - MoRF) / 2;
- `JUDGED/coherency`, `/complexity`, `/arcc` []: pytorch-grad-cam's, the first by the method itself, the last with an imputation
  without noise;
- `JUDGED/road_morf_50` [c,H,W]: the imputed input at percentile 50;
- `NAME/CLASS/spearman` []: rank correlation (ties averaged) of the two methods' maps.

`__metadata__` (JSON): `judged`: the list; `versions`.
"""

import copy
import os

os.environ["TQDM_DISABLE"] = "1"

from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy as np
import torch
from pytorch_grad_cam.metrics import arcc, road
from pytorch_grad_cam.metrics.cam_mult_image import (
    CamMultImageConfidenceChange,
    DropInConfidence,
    IncreaseInConfidence,
)
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from safetensors.numpy import load_file
from scipy.stats import spearmanr
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

from fixture import HERE, save, versions
from make_cams import PLAIN, layer_name, networks, run_pgc

PERCENTILES = range(10, 100, 10)


class WithoutNoise(road.NoisyLinearImputer):
    def __init__(self):
        super().__init__(noise=0.0)


class GivenMap:
    """What torch-cam's measures want of an extractor, with a map that is there already."""

    def __init__(self, model, heatmap):
        self.model, self.heatmap = model, torch.from_numpy(heatmap)[None]

    def __call__(self, *_, **__):
        return [self.heatmap]

    def fuse_cams(self, maps):
        return maps[0]

    @contextmanager
    def _hooks_off(self):
        yield


def consistent(method, model, layer, x, heatmap, category):
    """The three measures of Poppi et al."""
    with method(model, [dict(model.named_modules())[layer]]) as cam, mock.patch.object(road, "NoisyLinearImputer", WithoutNoise):
        batch = (x.clone(), heatmap[None], [ClassifierOutputTarget(category)], model)
        result = {
            "coherency": arcc.Coherency()(*batch, cam)[0],
            "complexity": arcc.Complexity()(heatmap[None])[0],
            "arcc": arcc.ARCC(cam)(*batch)[0],
        }
        # What is kept would be detached in place on leaving, which views (after max pooling) refuse.
        cam.activations_and_grads.activations, cam.activations_and_grads.gradients = [], []
    return result


def judge(model, x, heatmap, category):
    target = [ClassifierOutputTarget(category)]
    batch = (x, heatmap[None], target, model)
    result = {
        "heatmap": heatmap,
        "change": CamMultImageConfidenceChange()(*batch)[0],
        "drop": DropInConfidence()(*batch)[0],
        "increase": IncreaseInConfidence()(*batch)[0],
        "change_softmax": CamMultImageConfidenceChange()(x, heatmap[None], [ClassifierOutputSoftmaxTarget(category)], model)[0],
    }
    softmax = partial(torch.softmax, dim=-1)
    measure = ClassificationMetric(GivenMap(model, heatmap), softmax)
    measure.update(x, category)
    summary = measure.summary()
    result |= {"average_drop": summary["avg_drop"], "confidence_increase": summary["conf_increase"]}

    measure = DeletionInsertionMetric(GivenMap(model, heatmap), softmax)
    original, curves = measure._compute_curves, []
    measure._compute_curves = lambda *args: curves.append(original(*args)) or curves[0]
    measure.update(x, category)
    fractions, deletion, insertion = curves[0]
    result |= {"fractions": fractions.numpy(), "deletion": deletion[0].numpy(), "insertion": insertion[0].numpy()}
    result |= {kind.removesuffix("_auc") + "_area": area for kind, area in measure.summary().items()}

    imputer = road.NoisyLinearImputer(noise=0.0)
    orders = {"morf": RemoveMostRelevantFirst, "lerf": RemoveLeastRelevantFirst}
    for name, order in orders.items():
        result[f"road_{name}"] = np.float32(
            [PerturbationConfidenceMetric(order(p, imputer))(*batch)[0] for p in PERCENTILES]
        )
    result["road"] = (result["road_lerf"].mean() - result["road_morf"].mean()) / 2
    result["road_morf_50"] = RemoveMostRelevantFirst(50, imputer)(x[0], torch.from_numpy(heatmap)).numpy()
    return result


def main():
    torch.set_num_threads(1)
    tensors, judged = {}, []
    for name, model, x, *_ in networks():
        if name not in ("gap", "flatten", "residual"):
            continue
        stored = load_file(HERE / f"cams/{name}.safetensors")
        if not np.array_equal(stored["input"], x.numpy()):
            raise ValueError(f"{name} is not the network that make_cams.py wrote")
        with torch.no_grad():
            category = int(model(x)[0].argmax())
        path = layer_name(model, model.layers["late"])
        maps = []
        for method in ("grad-cam", "layercam"):
            heatmap = run_pgc(PLAIN[method], model, path, x, ClassifierOutputTarget(category))["heatmap"]
            maps.append(heatmap)
            key = f"{name}/{category}/{method}"
            judged.append(key)
            measures = judge(copy.deepcopy(model), x, heatmap, category)
            measures |= consistent(PLAIN[method], copy.deepcopy(model), path, x, heatmap, category)
            for measure, value in measures.items():
                tensors[f"{key}/{measure}"] = np.float32(value)
            shown = {m: round(float(tensors[f"{key}/{m}"]), 4) for m in ("change", "average_drop", "deletion_area", "insertion_area", "road", "coherency", "complexity", "arcc")}
            print(f"  {key}: {shown}")
        tensors[f"{name}/{category}/spearman"] = np.float32(spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)
    facts = {"judged": judged, "versions": versions("torch", "grad-cam", "torchcam", "scipy", "numpy")}
    save(HERE / "metrics.safetensors", tensors, facts)


if __name__ == "__main__":
    main()
