"""Writes `tokens/NAME.onnx` and `tokens/NAME.safetensors`: small seeded-random transformers and mixers, and what
pytorch-grad-cam with its `reshape_transform` and torch-cam make of them.

| NAME    | input    | network | tokens |
| ------- | -------- | ------- | ------ |
| `vit`   | 3x24x32  | torchvision's vision transformer, patches of 8, three blocks | 1 + 3 x 4 |
| `deit`  | 3x24x32  | timm's distilled vision transformer, patches of 8, three blocks | 2 + 3 x 4 |
| `swin`  | 3x32x48  | timm's Swin transformer, patches of 4, two stages, windows of 2 x 3 | 8 x 12 and 4 x 6, channels last |
| `mixer` | 3x24x40  | timm's MLP-Mixer, patches of 8, two blocks | 3 x 5 |

Layout as in `make_cams.py`, whose functions run the methods. Layers: `late`, where pytorch-grad-cam's documentation takes
its maps (`blocks[-1].norm1` of a transformer with a class token, the last normalisation of the others), `early`, the
result of the first block, and `middle`, between them; tensors of activations and gradients are those of the places alone.

Beside it, of `vit` (`input/CLASS/METHOD/map`, at the size of the grid): `legrad` over all blocks, by torch-cam; and of
`vit` and `deit` `attention-rollout`: in numpy, the product over blocks of (mean over heads + identity) / 2, and of it the
mean of the rows of the tokens that the head reads. `noise` and `LAYER/CLASS/METHOD/spread` as in `make_cams.py`, `shapley-cam` by
automatic differentiation in double precision. torch-cam (`ss-cam`, `is-cam`, `smooth-grad-cam++`) has no `reshape_transform`: it
sees the maps at a module between the layer and what follows it.
"""

import copy
import functools
import logging
import os
import warnings

os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import pytorch_grad_cam as pgc
import torch
import torchcam.methods as tcm
from pytorch_grad_cam.ablation_layer import AblationLayerVit
from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget
from timm.models.deit import VisionTransformerDistilled
from timm.models.mlp_mixer import MlpMixer
from timm.models.swin_transformer import SwinTransformer
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import make_cams
from fixture import HERE, save, versions
from make_cams import PLAIN, PROJECTED, Negative, export, find_layers, layer_name, run_pgc, smooth_random_input, with_sign_rule

OUT = HERE / "tokens"


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Vit(nn.Module):
    """torchvision's VisionTransformer for inputs that are not square."""

    def __init__(self, grid, width=16, heads=2, blocks=3, classes=5):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, width, 8, stride=8)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 1 + grid[0] * grid[1], width))
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(blocks)])
        self.ln = nn.LayerNorm(width)
        self.heads = nn.Linear(width, classes)

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        return self.heads(self.ln(self.blocks(x))[:, 0])


def prefixed(grid, prefix):
    """pytorch-grad-cam's `vit_reshape_transform` for a grid of any shape."""

    def transform(tensor):
        return tensor[:, prefix:].reshape(tensor.size(0), *grid, tensor.size(2)).permute(0, 3, 1, 2)

    return transform


def last(tensor):
    return tensor.permute(0, 3, 1, 2)


def networks():
    """(name, network, input, layers, reshape_transform)"""
    size = {"num_classes": 5, "embed_dim": 16}
    small = {"patch_size": 8, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0}

    def swin():
        kept = {"patch_size": 4, "depths": (2, 2), "num_heads": (2, 2), "window_size": (2, 3), "mlp_ratio": 2.0}
        return SwinTransformer((32, 48), num_classes=5, embed_dim=8, **kept)

    kinds = [
        ("vit", lambda: Vit((3, 4)), (24, 32), prefixed((3, 4), 1)),
        ("deit", lambda: VisionTransformerDistilled((24, 32), **size, **small), (24, 32), prefixed((3, 4), 2)),
        ("swin", swin, (32, 48), last),
        ("mixer", lambda: MlpMixer(5, (24, 40), patch_size=8, num_blocks=2, embed_dim=16), (24, 40), prefixed((3, 5), 0)),
    ]
    for seed, (name, make, (height, width), transform) in enumerate(kinds):
        torch.manual_seed(200 + seed)
        generator = torch.Generator().manual_seed(200 + seed)
        model = make().eval()
        with torch.no_grad():
            for path, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    fan = parameter[0].numel() if "token" not in path and "pos" not in path else 4
                    parameter.copy_(1.6 * torch.randn(parameter.shape, generator=generator) / fan**0.5)
                else:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        x = smooth_random_input((1, 3, height, width), generator)
        if name == "swin":
            layers = {"late": model.norm, "middle": model.layers[1].blocks[0], "early": model.layers[0].blocks[1]}
        elif name == "mixer":
            layers = {"late": model.norm, "middle": model.blocks[1], "early": model.blocks[0]}
        else:
            norm = model.blocks[-1].ln_1 if name == "vit" else model.blocks[-1].norm1
            layers = {"late": norm, "middle": model.blocks[1], "early": model.blocks[0]}
        yield name, model, x, {layer: layer_name(model, module) for layer, module in layers.items()}, transform


class Seen(nn.Module):
    """A layer whose tokens pass `maps` as maps on their way."""

    def __init__(self, layer, transform):
        super().__init__()
        self.layer, self.transform, self.maps = layer, transform, nn.Identity()

    def forward(self, x):
        tokens = self.layer(x)
        maps = self.maps(self.transform(tokens))
        if tokens.dim() == 4:
            return maps.permute(0, 2, 3, 1)
        places = maps.flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, : tokens.shape[1] - places.shape[1]], places], dim=1)


def by_torchcam(model, layer, x, category, transform, noise):
    """{METHOD: {"map"}} of the methods that only torch-cam has."""
    model = copy.deepcopy(model)
    model.set_submodule(layer, Seen(model.get_submodule(layer), transform))
    at = (model, f"{layer}.maps", x, category)
    samples, deviation = make_cams.SAMPLES["ss-cam"]
    table = make_cams.TableNoise(noise, deviation)
    return {
        "ss-cam": make_cams.run_torchcam(tcm.SSCAM, *at, table, num_samples=samples, std=deviation),
        "is-cam": make_cams.run_torchcam(tcm.ISCAM, *at, num_samples=make_cams.IS_CAM_SAMPLES),
        "smooth-grad-cam++": make_cams.smooth_grad_cam_plus_plus(*at, noise),
    }


class ShapleyCAM(pgc.ShapleyCAM):
    """The library's weights; its own map multiplies them with activations that are not transformed yet."""

    def get_cam_image(self, input_tensor, target_layer, targets, activations, grads, eigen_smooth=False):
        weights = self.get_cam_weights(input_tensor, target_layer, targets, activations, grads)
        maps = self.activations_and_grads.reshape_transform(activations).detach().numpy()
        return (weights[:, :, None, None] * maps).sum(axis=1)


def run(method, model, layer, x, target, transform, **options):
    """The map and the heatmap of `make_cams.run_pgc`, with a `reshape_transform`."""
    made_with = {"reshape_transform": transform}
    if method is pgc.AblationCAM:
        made_with["ablation_layer"] = AblationLayerVit()
    result = run_pgc(method, model, layer, x, target, made_with, **options)
    return {of: result[of].astype(np.float32) for of in ("map", "heatmap")}


def methods_at(name, model, layer, x, category, transform, noise):
    at = functools.partial(run, model=model, layer=layer, x=x, transform=transform)
    target, size = ClassifierOutputTarget(category), (x.shape[3], x.shape[2])
    results = {m: at(method, target=target) for m, method in PLAIN.items()}
    results |= {m: with_sign_rule(at(method, target=target), size) for m, method in PROJECTED.items()}
    results["grad-cam+eigen_smooth"] = with_sign_rule(at(pgc.GradCAM, target=target, eigen_smooth=True), size)
    # Where activations are negative, its divisor may be a small difference.
    rounding = spread(pgc.GradCAMPlusPlus, model, layer, x, target, transform)
    if rounding > 2.5e-5:
        results["grad-cam++"]["spread"] = np.float32(rounding)
        print(f"  {name}: rounding moves grad-cam++ at {layer} for class {category} by {rounding:.1e}")
    for method, result in by_torchcam(model, layer, x, category, transform, noise).items():
        results[method] = {kind: value for kind, value in result.items() if kind != "weights"}
    results["counterfactual"] = at(pgc.GradCAM, target=Negative(category))
    results["finer-cam"] = at(pgc.FinerCAM, target=category)
    exact = functools.partial(run, model=copy.deepcopy(model).double(), layer=layer, x=x.double(), transform=transform)
    results["shapley-cam"] = exact(ShapleyCAM, target=target)
    results["shapley-cam@rest"] = exact(ShapleyCAM, target=ClassifierOutputReST(category))
    for method in [m for m, result in results.items() if result is None]:
        print(f"  {name}: left out {method} at {layer} for class {category}: no sign by the rule")
        del results[method]
    return results


def spread(method, model, layer, x, target, transform):
    """By how much a map moves, relative to its largest value, when parameters and input move by as much as single precision
    rounds, as in `make_cams.smooth_grad_cam_plus_plus`."""
    generator = torch.Generator().manual_seed(11)

    def moved(rounding):
        jitter = lambda t: t * (1 + rounding * torch.randn(t.shape, generator=generator, dtype=torch.float64))
        other = copy.deepcopy(model).double()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.copy_(jitter(parameter))
        return run(method, other, layer, jitter(x.double()), target, transform)["map"]

    exact = moved(0.0)
    return max(np.abs(moved(make_cams.ROUNDING) - exact).max() for _ in range(make_cams.ROUNDINGS)) / np.abs(exact).max()


def legrad(model, x, category, grid):
    model = copy.deepcopy(model)
    blocks = [f"blocks.{block}" for block in range(len(model.blocks))]
    kept = {"score_projection": lambda tokens: model.heads(model.ln(tokens.mean(dim=1))), "grid_shape": grid}
    with tcm.LeGrad(model, blocks, **kept) as extractor:
        model(x.clone().requires_grad_(True))
        return extractor(category, normalized=False)[0][0].detach().numpy()


def rollout(attentions, prefix, grid):
    joint = np.eye(attentions[0].shape[-1])
    for attention in attentions:
        joint = (attention[0].mean(0) + np.eye(len(joint))) / 2 @ joint
    return joint[:prefix, prefix:].mean(0).reshape(grid)


def attentions(model, x):
    """The weights of attention of each block, from its own queries and keys."""
    found, hooks = [], []
    for block in model.blocks:
        if hasattr(block, "self_attention"):

            def keep(module, inputs, _):
                width, heads = module.embed_dim, module.num_heads
                q, k, _ = nn.functional.linear(inputs[0], module.in_proj_weight, module.in_proj_bias).split(width, 2)
                q, k = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (q, k))
                found.append((q @ k.transpose(2, 3) / (width // heads) ** 0.5).softmax(-1).detach().double().numpy())

            hooks.append(block.self_attention.register_forward_hook(keep))
        else:

            def keep(module, inputs, _):
                heads = module.num_heads
                q, k, _ = module.qkv(inputs[0]).chunk(3, 2)
                q, k = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (q, k))
                found.append((q @ k.transpose(2, 3) * module.scale).softmax(-1).detach().double().numpy())

            hooks.append(block.attn.register_forward_hook(keep))
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


def build(name, model, x, layers, transform, noise):
    with torch.no_grad():
        logits = model(x)
    order = logits[0].argsort(descending=True).tolist()
    classes = [order[0], order[len(order) // 2]]
    tensors = {"input": x.numpy(), "logits": logits.numpy(), "noise": noise.numpy()}
    whole = {}
    for category in classes:
        kept, hooks = {}, []
        modules = dict(model.named_modules())
        for layer, path in layers.items():

            def keep(_, __, output, layer=layer):
                output.retain_grad()
                kept[layer] = output

            hooks.append(modules[path].register_forward_hook(keep))
        model(x.clone().requires_grad_(True))[0, category].backward()
        for hook in hooks:
            hook.remove()
        model.zero_grad()
        for layer, value in kept.items():
            whole[layer] = value.detach().numpy().copy()
            tensors[f"{layer}/activations"] = transform(value).detach().numpy().copy()
            tensors[f"{layer}/{category}/gradients"] = transform(value.grad).numpy().copy()
    OUT.mkdir(exist_ok=True)
    export(copy.deepcopy(model), x, OUT / f"{name}.onnx")
    found = find_layers(OUT / f"{name}.onnx", x, whole, logits.numpy())
    for category in classes:
        for layer, path in layers.items():
            for method, result in methods_at(name, model, path, x, category, transform, noise).items():
                # Right before a normalisation gradients are across to activations, and what is left of the sum is rounding.
                products = np.abs(tensors[f"{layer}/activations"] * tensors[f"{layer}/{category}/gradients"]).sum(1)
                if method == "hirescam" and np.abs(result["map"]).max() < 1e-5 * products.max():
                    print(f"  {name}: left out {method} at {layer} for class {category}: it is nothing but rounding")
                    continue
                for kind, value in result.items():
                    if kind in ("map", "spread") or (layer == "late" and category == classes[0]):
                        tensors[f"{layer}/{category}/{method}/{kind}"] = value
        if name == "vit":
            tensors[f"input/{category}/legrad/map"] = legrad(model, x, category, (3, 4))
        if name in ("vit", "deit"):
            prefix = {"vit": 1, "deit": 2}[name]
            tensors[f"input/{category}/attention-rollout/map"] = rollout(attentions(model, x), prefix, (3, 4))
    facts = {
        "model": f"{name}.onnx",
        "classes": classes,
        "layers": found,
        "exports": {},
        "smooth": make_cams.SMOOTH,
        "versions": versions("torch", "timm", "grad-cam", "torchcam", "onnx", "onnxruntime", "numpy", "scikit-learn"),
    }
    save(OUT / f"{name}.safetensors", tensors, facts)
    make_cams.report(name, tensors, classes, layers)


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    # Other kernels have no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        noise = torch.randn(1009, generator=torch.Generator().manual_seed(7))
        for network in networks():
            build(*network, noise)


if __name__ == "__main__":
    main()
