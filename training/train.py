"""Trains the network of `www/models/everyday/` and writes it there: `python training/train.py`.

Stopped and started again, it goes on from its last checkpoint. `--epochs` gives the same result every time on the same
machine; `--minutes` fits the whole schedule into so much time instead, whatever else the machine is doing.
"""

import argparse
import copy
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import data
import export
import extent
import teacher
from network import Everyday
from optimiser import Muon

ROOT = Path(__file__).resolve().parent.parent

# From which part of the schedule on images have how many pixels: shapes are learnt from few pixels at a fraction of the
# cost. Crops magnify (by 1.25 on average), so the last part is what whole images at 96 pixels look like
# (Touvron et al. 2019, https://arxiv.org/abs/1906.06423).
SIDES = ((0.0, 32), (0.2, 40), (0.45, 48), (0.7, 64), (0.92, 80))
# For a run from an earlier one's weights, which has learnt from small images. It ends at the side of inference: a network
# that ended at 80 pixels was right on 2 % fewer of the held-out images at 96 than at 80.
CONTINUED_SIDES = ((0.0, 64), (0.6, 80), (0.88, 96))
WARMUP = 0.03
# The share of the teacher's opinion in the label.
DISTILLATION = 0.6
INFERENCE_SIDE = 96
# An epoch that is gone on with begins again with its first image.
CHECKPOINT_SECONDS = 300


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpu = torch.cuda.is_available()
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/tiny-imagenet-100")
    parser.add_argument("--teacher", default=str(ROOT / "../shared/models/mobilenet_v2_1.0_224_w8.onnx"), help="or none")
    parser.add_argument("--cache", type=Path, default=ROOT / "training/.cache")
    parser.add_argument("--output", type=Path, default=ROOT / "www/models/everyday")
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument("--epochs", type=float, default=120 if gpu else 14)
    parser.add_argument("--minutes", type=float, help="fit the schedule into this time instead of --epochs")
    parser.add_argument("--batch", type=int, default=512 if gpu else 128)
    parser.add_argument("--lr", type=float, help="relative change of a convolution per step, at its peak; default: 0.04, "
                                                 "with --from 0.02")
    parser.add_argument("--extent", type=float, default=1.0, help="weight of showing where the object is; 0 looks at no box")
    parser.add_argument("--from", dest="start", type=Path, metavar="CHECKPOINT",
                        help="begin with the weights of an earlier run, with a schedule of its own")
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=gpu,
                        help="faster where the processor has it (GPUs, AVX512-BF16, AMX), ten times slower elsewhere")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.lr = options.lr or (0.02 if options.start else 0.04)
    return options


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, options, classes: int):
        torch.manual_seed(options.seed)
        self.network = Everyday(classes).to(options.device, memory_format=torch.channels_last)
        # Averaged over the last steps: what is scored and exported.
        self.average = copy.deepcopy(self.network).eval()
        convolutions = [p for p in self.network.parameters() if p.dim() == 4]
        others = [p for p in self.network.parameters() if p.dim() != 4]
        self.optimisers = [Muon(convolutions, options.lr), torch.optim.Adam(others, 2e-3, (0.9, 0.99))]
        self.peaks = [options.lr, 2e-3]
        self.rng = torch.Generator().manual_seed(options.seed)
        self.step = self.epoch = 0
        self.seconds = 0.0

    def save(self, path: Path):
        state = {"network": self.network.state_dict(), "average": self.average.state_dict(), "rng": self.rng.get_state(),
                 "optimisers": [o.state_dict() for o in self.optimisers],
                 "step": self.step, "epoch": self.epoch, "seconds": self.seconds}
        # Renamed once it is whole, so that a run stopped while writing still has the one before.
        torch.save(state, path.with_suffix(".partial"))
        path.with_suffix(".partial").rename(path)

    def restore(self, state):
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.rng.set_state(state["rng"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)
        self.step, self.epoch, self.seconds = state["step"], state["epoch"], state["seconds"]

    def learn(self, progress: float):
        """One step along the gradients; `progress` 0..=1 through the schedule."""
        factor = min(progress / WARMUP, (1 - progress) / (1 - WARMUP))
        for optimiser, peak in zip(self.optimisers, self.peaks):
            for group in optimiser.param_groups:
                group["lr"] = peak * max(factor, 0.005)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        # A short memory at first, so that an early checkpoint is no average over a network that knew nothing.
        memory = min(1 + self.step / 10, 250)
        with torch.no_grad():
            for kept, new in zip(self.average.state_dict().values(), self.network.state_dict().values()):
                kept.lerp_(new, 1 / memory) if kept.is_floating_point() else kept.copy_(new)


def train(options, run: Run, split: data.Split, rows: torch.Tensor, soft, checkpoint: Path, held_out: data.Split):
    steps_per_epoch = len(rows) // options.batch
    total = max(1, round(options.epochs * steps_per_epoch))
    sides = CONTINUED_SIDES if options.start else SIDES
    side, saved = None, time.monotonic()
    while True:
        order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(1000 * options.seed + run.epoch))]
        count, epoch_start, losses, locations = 0, time.monotonic(), 0.0, 0.0
        for batch in order.split(options.batch)[:steps_per_epoch]:
            start = time.monotonic()
            progress = run.seconds / (60 * options.minutes) if options.minutes else run.step / total
            if progress >= 1:
                break
            side = [s for begin, s in sides if begin <= progress][-1]
            # Nearly whole images at the end: that is what inference sees.
            augment = data.Augmentation(side, crop_area=(0.5, 1.0) if side >= 80 else (0.35, 1.0),
                                        paste=0.2 if options.extent else 0.1)
            images, crop, donor, share, seen = augment(split.images[batch].to(options.device), split.boxes[batch], run.rng)
            labels = split.labels[batch].to(options.device)
            target = F.one_hot(labels, run.network.linear.out_features).float()
            if soft:
                mine = soft.probabilities(batch, crop)
                target = (1 - DISTILLATION) * target + DISTILLATION * mine
            target = (1 - share[:, None]) * target + share[:, None] * target[donor]
            run.network.train()
            with torch.autocast(torch.device(options.device).type, torch.bfloat16, enabled=options.bfloat16):
                features = run.network.features(images.contiguous(memory_format=torch.channels_last))
                logits = run.network.linear(features.mean((2, 3)))
            loss = F.cross_entropy(logits.float(), target, label_smoothing=0.0 if soft else 0.1)
            located = torch.zeros(())
            if options.extent:
                seen = F.adaptive_avg_pool2d(seen, features.shape[2:])
                # Also of what was pasted: of two objects in a picture, each is hot in the map of its own class alone.
                for classes, inside in zip((labels, labels[donor]), seen.unbind(1)):
                    maps = extent.activation_map(features.float(), run.network.linear.weight[classes])
                    located = located + extent.loss(maps, inside).mean()
            (loss + options.extent * located).backward()
            run.learn(progress)
            run.seconds += time.monotonic() - start
            count, losses = count + len(batch), losses + loss.item() * len(batch)
            locations += located.item() * len(batch)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                run.save(checkpoint)
                saved = time.monotonic()
            if run.step % 50 == 0:
                print(f"epoch {run.epoch} step {run.step} ({100 * progress:.1f} %) {side} px: loss {losses / count:.3f}, "
                      f"extent {locations / count:.3f}, "
                      f"{count / (time.monotonic() - epoch_start):.0f} images/s", flush=True)
        run.epoch += 1
        part = held_out[torch.arange(0, len(held_out), 3)] if progress < 1 else held_out
        print(f"epoch {run.epoch}: {score(run.average, part, max(side, 48), options.device)} on {len(part)} held-out images, "
              f"{run.seconds / 60:.1f} min", flush=True)
        run.save(checkpoint)
        if progress >= 1:
            return


@torch.no_grad()
def predict(network: torch.nn.Module, split: data.Split, side: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `[N, classes]` and the true classes' activation maps `[N, h, w]`."""
    logits, maps = [], []
    for rows in torch.arange(len(split)).split(100):
        pixels = data.resized(split.images[rows].to(device), side).contiguous(memory_format=torch.channels_last)
        features = network.features(pixels)
        logits.append(network.linear(features.mean((2, 3))).cpu())
        weights = network.linear.weight[split.labels[rows].to(device)]
        maps.append(extent.activation_map(features, weights).cpu())
    return torch.cat(logits), torch.cat(maps)


def score(network: torch.nn.Module, split: data.Split, side: int, device: str) -> str:
    logits, maps = predict(network, split, side, device)
    best = logits.topk(5).indices == split.labels[:, None]
    top1, top5 = 100 * best[:, 0].float().mean().item(), 100 * best.any(1).float().mean().item()
    pointed, overlapped = extent.measure(maps, split.boxes, data.SIDE)
    return f"top-1 {top1:.1f} %, top-5 {top5:.1f} %, pointing {pointed:.1f} %, boxes {overlapped:.1f} %"


def calibrate(network: torch.nn.Module, split: data.Split, side: int, device: str) -> float:
    """Divides the linear layer by the temperature at which its probabilities fit the held-out images best
    (Guo et al. 2017, https://arxiv.org/abs/1706.04599)."""
    logits, _ = predict(network, split, side, device)
    candidates = [0.3 + 0.01 * i for i in range(200)]
    temperature = min(candidates, key=lambda t: F.cross_entropy(logits / t, split.labels).item())
    with torch.no_grad():
        network.linear.weight /= temperature
        network.linear.bias /= temperature
    return temperature


def main():
    options = arguments()
    options.cache.mkdir(parents=True, exist_ok=True)
    wnids, names = data.classes(options.data)
    split = data.load(options.data, "train", options.cache)
    unseen = data.held_out(split.labels)
    held_out = split[unseen]
    soft = None
    if options.teacher != "none":
        soft = teacher.load(split.images, split.labels, ~unseen, Path(options.teacher), options.cache)

    run = Run(options, len(wnids))
    checkpoint = options.cache / ("continued.pt" if options.start else "checkpoint.pt")
    if options.start and not checkpoint.exists():
        weights = torch.load(options.start, map_location=options.device)["average"]
        run.network.load_state_dict(weights)
        run.average.load_state_dict(weights)
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, map_location=options.device))
        print(f"going on from {checkpoint}, epoch {run.epoch}", flush=True)
    train(options, run, split, torch.nonzero(~unseen).flatten(), soft, checkpoint, held_out)

    network = run.average
    for side in (64, INFERENCE_SIDE):
        print(f"held out at {side} px: {score(network, held_out, side, options.device)}", flush=True)
    print(f"temperature {calibrate(network, held_out, INFERENCE_SIDE, options.device):.2f}", flush=True)
    export.write(network.cpu(), INFERENCE_SIDE, names, options.output)


if __name__ == "__main__":
    main()
