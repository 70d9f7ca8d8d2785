"""Writes `dff.safetensors`: pytorch-grad-cam's deep feature factorization of two networks of `make_cams.py`.

The activations A of a layer, as a matrix of channels by positions less each channel's minimum, are factored as W H,
both without negative entries (scikit-learn's NMF, coordinate descent, `init="random"`, `random_state=0`, at most 200
rounds, tolerance 1e-4).

Layout (f32), for NAME `gap` and `residual`, layer `late`, n = 3 concepts:
- `NAME/activations` [1,K,h,w];
- `NAME/start_w` [K,n], `NAME/start_h` [n,h*w]: where the iteration starts (scikit-learn's random numbers);
- `NAME/concepts` [K,n]: W plus each channel's minimum;
- `NAME/explanations` [n,h,w]: H; `NAME/heatmaps` [n,H,W]: each min-max, bilinear to the input's size;
- `NAME/concept_scores` [n,C]: the linear layer's output for each concept as if it were the pooled features.

`__metadata__` (JSON): `rounds` { NAME: iterations until it stopped }, `error` { NAME: |A - W H| / |A| of the shifted
matrix }, `versions`.
"""

import numpy as np
import torch
from pytorch_grad_cam.feature_factorization.deep_feature_factorization import DeepFeatureFactorization
from sklearn.decomposition import NMF
from sklearn.decomposition._nmf import _initialize_nmf

from fixture import HERE, save, versions
from make_cams import networks

CONCEPTS = 3


def main():
    torch.set_num_threads(1)
    tensors, rounds, errors = {}, {}, {}
    for name, model, x, *_ in networks():
        if name not in ("gap", "residual"):
            continue
        factorization = DeepFeatureFactorization(model, model.layers["late"], computation_on_concepts=model.fc)
        concepts, heatmaps, scores = factorization(x.clone(), CONCEPTS)
        kept = []
        hook = model.layers["late"].register_forward_hook(lambda _, __, output: kept.append(output.detach().numpy().copy()))
        model(x)
        hook.remove()
        (activations,) = kept
        matrix = activations[0].reshape(activations.shape[1], -1)
        offset = matrix.min(axis=1, keepdims=True)
        start_w, start_h = _initialize_nmf(matrix - offset, CONCEPTS, init="random", random_state=0)
        again = NMF(n_components=CONCEPTS, init="random", random_state=0)
        w = again.fit_transform(matrix - offset)
        np.testing.assert_allclose(w + offset, concepts, rtol=1e-5, atol=1e-6)
        rounds[name] = int(again.n_iter_)
        errors[name] = float(again.reconstruction_err_ / np.linalg.norm(matrix - offset))
        tensors |= {
            f"{name}/activations": activations,
            f"{name}/start_w": start_w,
            f"{name}/start_h": start_h,
            f"{name}/concepts": concepts,
            f"{name}/explanations": again.components_.reshape(CONCEPTS, *activations.shape[2:]),
            f"{name}/heatmaps": heatmaps[0],
            f"{name}/concept_scores": scores,
        }
        print(f"  {name}: {rounds[name]} rounds, relative error {errors[name]:.4f}")
    facts = {"rounds": rounds, "error": errors, "versions": versions("torch", "grad-cam", "scikit-learn", "numpy")}
    save(HERE / "dff.safetensors", tensors, facts)


if __name__ == "__main__":
    main()
