"""Exports architectures of torchvision, timm and Hugging Face's transformers with random weights and prints, for each, whether it loads here and gives
the right scores and the right Grad-CAM: `python zoo.py ZOO TABLE [NAME…]`, ZOO being the example `zoo`, built
(`cargo build --release --example zoo`), TABLE the file to which lines are added.

Needs a Python with torch, torchvision, timm, transformers, grad-cam, onnx and onnxruntime; elsewhere it says so and stops. A
name is timm's, torchvision's behind `tv:`, or that of a family of transformers behind `hf:`; `dynamo:` before it takes PyTorch's
dynamo exporter. One line of tab-separated
fields for each network:

- its name and the size of its input;
- `loads`, or why not;
- by how much its scores differ from onnxruntime's, relative to the largest, and how far both are from double precision;
- the default layer, its kind and its shape;
- whether that layer is in the last block (`yes`, `no`), and whether the map there is blank;
- by how much Grad-CAM there differs from pytorch-grad-cam's formula on PyTorch's gradients, relative to its largest number.

`python zoo.py --summary TABLE` writes `docs/networks.md` from the lines.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np

try:
    import onnxruntime
    import timm
    import torch
    import torchvision
    import transformers
    from pytorch_grad_cam import GradCAM
except ImportError as error:
    sys.exit(f"skipped: the zoo needs {error.name}")

from fixture import HERE, formula_input, versions

TORCHVISION = """alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5
mobilenet_v2 mobilenet_v3_small regnet_y_400mf resnet18 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t
vgg11_bn vit_b_32 wide_resnet50_2""".split()
TIMM = """bat_resnext26ts beit_base_patch16_224 botnet26t_256 cait_xxs24_224 caformer_s18 coat_lite_tiny coat_tiny coatnet_nano_rw_224
convit_tiny convmixer_768_32 convnextv2_atto crossvit_tiny_240 cs3darknet_s cspresnet50 davit_tiny deit3_small_patch16_224
deit_tiny_distilled_patch16_224 dla34 dpn48b eca_halonext26ts eca_nfnet_l0 ecaresnet26t edgenext_xx_small efficientformer_l1
efficientformerv2_s0 efficientvit_b0 efficientvit_m0 ese_vovnet19b_dw eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 fbnetc_100
flexivit_small focalnet_tiny_srf gcresnet33ts gcvit_xxtiny gernet_s ghostnet_050 ghostnetv2_100 gmixer_24_224 gmlp_ti16_224
halonet26t hardcorenas_a hgnetv2_b0 hiera_tiny_224 hrnet_w18_small inception_next_atto inception_resnet_v2 inception_v4
lambda_resnet26rpt_256 lcnet_050 legacy_senet154 levit_128s mambaout_femto maxvit_pico_rw_256 maxxvit_rmlp_nano_rw_256
mixer_s32_224 mixnet_s mnasnet_small mobilenetv4_conv_small mobilenetv5_base mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny
nasnetalarge nest_tiny nextvit_small nf_regnet_b0 nfnet_f0 pit_ti_224 pnasnet5large poolformer_s12 poolformerv2_s12 pvt_v2_b0
rdnet_tiny regnetv_040 regnetz_005 repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_14w_8s resmlp_12_224 resnest14d resnetblur50
resnetv2_50 rexnet_100 samvit_base_patch16_224 sebotnet33ts_256 sedarknet21 selecsls42b semnasnet_050 sequencer2d_s shvit_s1
skresnet18 spnasnet_100 starnet_s1 swiftformer_xs swinv2_cr_tiny_ns_224 swinv2_tiny_window8_256 tf_efficientnet_b0
tf_efficientnet_cc_b0_4e tf_mixnet_s tf_mobilenetv3_small_075 tiny_vit_5m_224 tinynet_e tnt_s_legacy_patch16_224 tresnet_m
twins_pcpvt_small twins_svt_small vgg11 visformer_tiny vit_relpos_small_patch16_224 vit_tiny_patch16_224 vitamin_small_224
volo_d1_224 vovnet39a wide_resnet50_2 xception41 xcit_nano_12_p16_224""".split()

# Families of transformers, with what makes them small.
TOKENS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "patch_size": 16}
WINDOWS = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}
TRANSFORMERS = {
    **dict.fromkeys("ViT DeiT Beit Data2VecVision Dinov2 Dinov2WithRegisters ViTMSN IJepa".split(), TOKENS),
    **dict.fromkeys("Swin Swinv2 DonutSwin".split(), WINDOWS),
    **dict.fromkeys("ConvNext ConvNextV2".split(), STAGES),
    "ResNet": STAGES | {"embedding_size": 16},
    "RegNet": STAGES | {"embedding_size": 16, "groups_width": 8},
    "PoolFormer": STAGES,
    "Segformer": STAGES,
    "PvtV2": {"hidden_sizes": [16, 32, 40, 64], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 5, 8]},
    "SwiftFormer": {"embed_dims": [16, 24, 32, 48], "depths": [1, 1, 1, 1]},
    "FocalNet": {"embed_dim": 16, "depths": [1, 1, 1, 1]},
    "Hiera": {"embed_dim": 16, "depths": [1, 1, 2, 1]},
    "MobileNetV1": {"depth_multiplier": 0.25},
    "MobileNetV2": {"depth_multiplier": 0.35},
    **dict.fromkeys("MobileViT MobileViTV2 Levit HGNetV2 TextNet".split(), {}),
    **dict.fromkeys("CLIP Siglip".split(), {"vision_config": TOKENS}),
}


class Scores(torch.nn.Module):
    """A network of transformers that gives its scores alone."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels):
        return self.network(pixels).logits


def of_transformers(family):
    """A network of that family, and the size of its input: not square where it may be."""
    made = getattr(transformers, f"{family}Config"), getattr(transformers, f"{family}ForImageClassification")
    for height, width in ((64, 96), (64, 64)):
        kept = dict(TRANSFORMERS[family])
        inner = kept["vision_config"] = dict(kept["vision_config"]) if "vision_config" in kept else None
        (kept if inner is None else inner)["image_size"] = [height, width] if height != width else height
        if inner is None:
            del kept["vision_config"]
        try:
            torch.manual_seed(0)
            config = made[0](num_labels=7, **kept)
            config.num_labels = 7
            model = Scores(made[1](config)).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() > 1:
                        parameter.normal_(0, parameter[0].numel() ** -0.5)
                model(torch.zeros(1, 3, height, width))
            return model, (3, height, width)
        except Exception:  # Some take squares only.
            continue
    raise ValueError("it can't be made")


# Small and not square, so that a swapped axis shows; networks that take one size only get their own.
SIZE = (3, 96, 128)


def network(name, small):
    """A network of that name with random weights, for a small input if it can be had, and the size of its own input."""
    torch.manual_seed(0)
    if name.startswith("hf:"):
        return of_transformers(name[3:])
    if name.startswith("tv:"):
        kept = {"weights": None}
        if name[3:] in ("googlenet", "inception_v3"):
            kept |= {"init_weights": True, "aux_logits": False}
        side = 299 if "inception" in name else 224
        return torchvision.models.get_model(name[3:], **kept).eval(), (3, side, side)
    try:
        model = timm.create_model(name, pretrained=False, **({"img_size": SIZE[1:]} if small else {}))
    except Exception:  # Most networks have no such argument; some can't do with it.
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False)
    return model.eval(), model.pretrained_cfg["input_size"]


def alive(model):
    """Statistics as of a trained network, so that values neither vanish nor explode."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.momentum = None
    model.train()
    return model


def called(model, x):
    """The model's result, what every function of PyTorch gave on the way, in order, and when each module began."""
    given, begun = [], {}

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.requires_grad and result.dtype == torch.float32:
                given.append(result)
            return result

    def begin(name):
        def note(_, inputs):
            first = next((one for one in inputs if isinstance(one, torch.Tensor)), None)
            # What has no places any more is the head.
            if first is not None and first.dim() > 2 and first[0].numel() > max(first.shape[1], first.shape[-1]):
                begun.setdefault(name, len(given))

        return note

    hooks = [module.register_forward_pre_hook(begin(name)) for name, module in model.named_modules()]
    with Watch():
        result = model(x)
    for hook in hooks:
        hook.remove()
    return result, given, begun


def last_block(model, begun):
    """Where the last block begins: the innermost part of a sequence that has two layers of weights, run last."""

    def weights(module):
        return sum(parameter.dim() > 1 for parameter in module.parameters())

    listed = {}
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Sequential, torch.nn.ModuleList)):
            listed |= {f"{name}.{key}".lstrip("."): weights(part) for key, part in module.named_children()}
    parts = {name for name, count in listed.items() if count > 1 and name in begun}
    inner = {name for name in parts if not any(other.startswith(name + ".") for other in parts)}
    inner = inner or {name for name, count in listed.items() if count and name in begun}
    return max((begun[name] for name in inner), default=0)


def as_maps(value, shape):
    """A tensor as maps `[K, h, w]` in each way in which it may be read, as pytorch-grad-cam's `reshape_transform`s do."""
    channels, height, width = shape
    if value.dim() == 4 and value[0].numel() == math.prod(shape):
        if tuple(value.shape[1:]) == tuple(shape):
            yield lambda t: t
        if tuple(value.shape[1:]) == (height, width, channels):
            yield lambda t: t.permute(0, 3, 1, 2)
    if value.dim() == 3 and value.shape[0] == 1:
        places = height * width
        for turned in (False, True):
            tokens, own = value.shape[2 if turned else 1], value.shape[1 if turned else 2]
            if own != channels or tokens < places:
                continue
            for prefix in {0, tokens - places}:

                def read(t, turned=turned, prefix=prefix):
                    t = t if turned else t.transpose(1, 2)
                    return t[:, :, prefix : prefix + places].reshape(t.shape[0], channels, height, width)

                yield read


def compared(model, x, found):
    """Which of PyTorch's values the default layer is, whether it is in the last block, and the distance of Grad-CAM there."""
    activations = torch.tensor(found["activations"]).reshape(1, *found["shape"])
    scale = activations.abs().max()
    logits, given, begun = called(model, torch.from_numpy(x))
    logits = logits[0] if isinstance(logits, (tuple, list)) else logits
    start = last_block(model, begun)
    for place in range(len(given) - 1, -1, -1):
        value = given[place]
        for read in as_maps(value, found["shape"]):
            if (read(value) - activations).abs().max() > 1e-3 * scale:
                continue
            (gradient,) = torch.autograd.grad(logits[0, found["class"]], value, allow_unused=True, retain_graph=True)
            if gradient is None:
                continue
            weights = GradCAM.get_cam_weights(None, None, None, None, None, read(gradient).numpy())
            expected = (weights[:, :, None, None] * read(value).detach().numpy()).sum(1).ravel()
            largest = np.abs(expected).max()
            # A copy of which only the class token goes on: an earlier holder of the same numbers is the layer.
            if not largest:
                continue
            return place >= start, np.abs(np.array(found["map"]) - expected).max() / largest
    return None, None


def settled(name, sizes):
    """The network with statistics as of a trained one, so that values neither vanish nor explode, and its input's size."""
    model, own = network(name, SIZE in sizes)
    tried = [size or own for size in sizes]
    for size in tried:
        try:
            with torch.no_grad():
                for path, parameter in model.named_parameters():
                    # Heads and scales of branches that begin at nothing hide all before them.
                    if parameter.abs().max() < 1e-3 and (parameter.dim() > 1 or "bias" not in path):
                        parameter.normal_(0, 0.1)
                    # Where they begin as loud as what they are added to, 51 blocks make anything of any rounding.
                    if name == "legacy_senet154" and path.endswith("bn3.weight"):
                        parameter.fill_(0.1)
                model.eval()(torch.randn(1, *size))
                alive(model)
                try:
                    model(torch.randn(2, *size))
                except Exception:  # Networks that can't be trained like that stay as they are.
                    pass
                return model.eval(), size
        except Exception:  # Another size is tried.
            continue
    raise ValueError(f"runs with none of {tried}")


def onnxruntime_scores(path, x, level):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0].ravel()


def check(zoo, name, folder, sizes):
    dynamo = name.startswith("dynamo:")
    model, size = settled(name.removeprefix("dynamo:"), sizes)
    x = formula_input([1, *size])
    path = pathlib.Path(folder, "network.onnx")
    with warnings.catch_warnings(), open(os.devnull, "w") as quiet:
        warnings.simplefilter("ignore")
        extra = {"external_data": False, "verbose": False} if dynamo else {}
        torch.onnx.export(model, (torch.from_numpy(x),), str(path), dynamo=dynamo, input_names=["input"], **extra)
        _ = quiet
    expected = onnxruntime_scores(path, x, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    as_written = onnxruntime_scores(path, x, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    done = subprocess.run([zoo, str(path)], capture_output=True, text=True)
    kept = os.environ.get("KEEP")
    if kept:
        path.rename(pathlib.Path(kept, f"{name.replace(':', '_')}.onnx"))
    line = [name, f"{size[1]}x{size[2]}"]
    if not done.stdout:
        return [*line, f"crashed: {done.stderr[-300:]}".replace("\n", " ")]
    found = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        return [*line, f"refused: {found['error'][:400]}".replace("\n", " ")]
    scale = np.abs(expected).max()
    off = np.abs(np.array(found["scores"]) - expected).max() / scale
    blank = "blank" if not np.any(found["map"]) else "seen"
    is_last, distance = compared(model, x, found)
    with torch.no_grad():
        exact = model.double()(torch.from_numpy(x).double())
    exact = (exact[0] if isinstance(exact, (tuple, list)) else exact).numpy().ravel()
    # Some networks make much of any rounding, so that onnxruntime's own two ways to run them are several times as far apart.
    own, *theirs = (np.abs(np.array(scores) - exact).max() / scale for scores in (found["scores"], expected, as_written))
    theirs = max(theirs)
    scores = f"{off:.1e} ({own:.1e} from f64, onnxruntime {theirs:.1e})"
    last = {None: "?", True: "yes", False: "no"}[is_last]
    shape = "x".join(map(str, found["shape"]))
    cam = "?" if distance is None else f"{distance:.1e}"
    return [*line, "loads", scores, found["layer"], found["kind"], shape, last, blank, cam]


def distances(field):
    """From onnxruntime, and where it was measured, from double precision, and onnxruntime's from that."""
    words = field.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return [float(word) for word in words if "e" in word and word[0].isdigit()]


def right_scores(field):
    """Within 1e-4, or at most twice as far from double precision as onnxruntime."""
    numbers = distances(field)
    return numbers[0] <= 1e-4 or (len(numbers) == 3 and numbers[1] <= 2 * numbers[2])


def summary(table):
    """Writes `docs/networks.md`."""
    lines = [line.split("\t") for line in table.read_text().splitlines()]
    exported = [line for line in lines if not line[2].startswith("not exported")]
    loaded = [line for line in exported if line[2] == "loads"]
    right = [line for line in loaded if right_scores(line[3])]
    last = [line for line in loaded if line[7] == "yes" and line[8] == "seen"]
    cams = [line for line in loaded if line[9] != "?" and float(line[9]) <= 1e-4]
    exact = {line[0]: own / theirs for line in loaded if len(distances(line[3])) == 3 for _, own, theirs in [distances(line[3])]}
    far = {name: ratio for name, ratio in exact.items() if ratio > 2}
    share = lambda part, whole: f"{len(part)} of {len(whole)} ({100 * len(part) / len(whole):.1f} %)"
    text = f"""# Networks that were tried

{len(exported)} exports of architectures of torchvision, timm and Hugging Face's transformers, with random weights and statistics as after training. Each was
exported by PyTorch (`dynamo:` by its dynamo exporter, the others by the TorchScript one) and its scores compared with
onnxruntime's, its Grad-CAM at the default layer with the formula of pytorch-grad-cam on PyTorch's own gradients, tokens by
`reshape_transform`.

| what | networks | aim |
| --- | --- | --- |
| load | {share(loaded, exported)} | 98 % |
| of these, right scores: within 1e-4 of the largest, or twice onnxruntime's own distance from double precision | {share(right, loaded)} | 99 % |
| of these, a default layer in the last block, with something to see | {share(last, loaded)} | 100 % |
| of these, the right Grad-CAM there, within 1e-4 of the largest value | {share(cams, loaded)} | 98 % |

`python tests/data/zoo.py ZOO TABLE` and `python tests/data/zoo.py --summary TABLE` wrote this page. Versions:
{", ".join(f"{name} {version}" for name, version in versions("torch", "torchvision", "timm", "transformers", "grad-cam", "onnx", "onnxruntime").items())}.
Distances are relative to the largest number; the parts of layers' names stand apart.

The distance from double precision was measured for {len(exact)} networks, and is within twice onnxruntime's for {len(exact) - len(far)}. Beyond are
{", ".join(f"`{name}` ({ratio:.1f} times)" for name, ratio in sorted(far.items(), key=lambda pair: -pair[1])) or "none"}.

onnxruntime's distance is the larger one of those with and without its optimisations: some networks make so much of any rounding
that the two are several times as far apart. Farther off here are 3×3 convolutions by Winograd's F(4×4, 3×3), which takes a
quarter of their multiplications: each is 1.8 to 2.3 times as far as plain sums, by NumPy's single precision. `rexnet_100`, which has none of
them, is as far at each of its layers as onnxruntime is where that hands out the values of all layers; without handing them out it
happens to be nearer.

| network | input | scores off by | default layer | kind | shape | last block | Grad-CAM off by |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
    for line in exported:
        name, size, state, *rest = line
        if state != "loads":
            text += f"| `{name}` | {size} | {state} | | | | | |\n"
            continue
        scores, layer, kind, shape, is_last, seen, cam = rest
        is_last = is_last if seen == "seen" else f"{is_last}, blank"
        layer = layer.strip("/").replace("/", " / ")
        text += f"| `{name}` | {size} | {scores} | `{layer}` | {kind} | {shape} | {is_last} | {cam} |\n"
    failed = [line for line in lines if line[2].startswith("not exported")]
    if failed:
        text += "\nWhat the exporter refuses is not counted: " + ", ".join(f"`{line[0]}`" for line in failed) + ".\n"
    (HERE.parents[1] / "docs/networks.md").write_text(text)
    print(text.split("`python tests")[0])


if __name__ == "__main__":
    if sys.argv[1] == "--summary":
        summary(pathlib.Path(sys.argv[2]))
        sys.exit()
    zoo, table = sys.argv[1], pathlib.Path(sys.argv[2])
    torchvisions = [f"tv:{name}" for name in TORCHVISION]
    families = [f"hf:{family}" for family in TRANSFORMERS]
    names = sys.argv[3:] or torchvisions + families + TIMM + [f"dynamo:{name}" for name in torchvisions + families]
    done = {line.split("\t")[0] for line in table.read_text().splitlines()} if table.exists() else set()
    torch.set_num_threads(1)
    for name in names:
        if name in done:
            continue
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            # An exporter's errors have no common type; some networks can be exported at their own size alone.
            for sizes in ([SIZE], [None]):
                try:
                    line = check(zoo, name, folder, sizes)
                    break
                except Exception as error:
                    line = [name, "", f"not exported: {str(error)[:200]!r}".replace("\n", " ")]
        print(*line, flush=True)
        with table.open("a") as out:
            out.write("\t".join(line) + "\n")
