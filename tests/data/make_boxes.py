"""Writes `boxes.safetensors`: how well made-up heatmaps find made-up boxes, by the field's own measures.

- pointing game: Zhang et al. 2016, hit within 15 pixels of a box (here 3, the pictures being small);
- the box around the largest connected part above 15 % (Selvaraju et al. 2017) or 20 % (Zhou et al. 2016) of the maximum,
  by OpenCV's `connectedComponentsWithStats`, and its best overlap with a box;
- energy inside the boxes: haofanwang/Score-CAM's energy-based pointing game;
- MaxBoxAccV2: `BoxEvaluator` of clovaai/wsolevaluation with all contours, by OpenCV's `findContours`.

`docs/compare_judging.py` judges pytorch-grad-cam's maps with these very functions.

Layout (f32), i = 0, 1, ...: `i/heatmap` [H,W] in 0..=1, `i/boxes` [boxes,4] (x0, y0, x1, y1), `i/pointing`, `i/iou_15`,
`i/iou_20`, `i/energy` []; `max_box_acc_v2` [] over all. `__metadata__`: `tolerance`, `images`, `versions`.
"""

import cv2
import numpy as np

from fixture import HERE, save, versions

TOLERANCE = 3.0
SIZE = (60, 44)


def normalised(heatmap):
    """To 0..=1 as pytorch-grad-cam's `scale_cam_image`."""
    heatmap = heatmap - heatmap.min()
    return heatmap / (np.float32(1e-7) + heatmap.max())


def distance(box, x, y):
    x0, y0, x1, y1 = box
    return np.hypot(max(x0 - x, x - x1, 0), max(y0 - y, y - y1, 0))


def pointing(heatmap, boxes, tolerance):
    if heatmap.min() == heatmap.max():
        return 0.0
    y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
    return float(any(distance(box, x + 0.5, y + 0.5) <= tolerance for box in boxes))


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def box_overlap(heatmap, boxes, share):
    if heatmap.max() == 0:
        return 0.0
    mask = (heatmap >= np.float32(share) * heatmap.max()).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    x, y, width, height, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    return max(overlap((x, y, x + width, y + height), box) for box in boxes)


def energy(heatmap, boxes):
    y, x = np.mgrid[: heatmap.shape[0], : heatmap.shape[1]] + 0.5
    inside = np.zeros(heatmap.shape, bool)
    for x0, y0, x1, y1 in boxes:
        inside |= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    total = heatmap.astype(np.float64).sum()
    return float(heatmap[inside].astype(np.float64).sum() / total) if total > 0 else 0.0


class BoxAccuracy:
    """wsolevaluation's `BoxEvaluator(iou_threshold_list=(30, 50, 70), multi_contour_eval=True)`."""

    def __init__(self):
        self.thresholds = np.arange(1000) / 1000
        self.correct = {iou: np.zeros(len(self.thresholds)) for iou in (0.3, 0.5, 0.7)}
        self.images = 0

    def add(self, heatmap, boxes):
        height, width = heatmap.shape
        image = (heatmap * 255).astype(np.uint8)
        best, known = np.zeros(len(self.thresholds)), {}
        for i, threshold in enumerate(self.thresholds):
            level = int(threshold * image.max())
            if level not in known:
                _, mask = cv2.threshold(image, level, 255, cv2.THRESH_BINARY)
                contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
                found = [[0, 0, 0, 0]]
                if contours:
                    found = [(x, y, min(x + w, width - 1), min(y + h, height - 1)) for x, y, w, h in map(cv2.boundingRect, contours)]
                # Boxes count their last pixel.
                wider = lambda box: (box[0], box[1], box[2] + 1, box[3] + 1)
                known[level] = max(overlap(wider(a), wider(b)) for a in found for b in boxes)
            best[i] = known[level]
        for iou, correct in self.correct.items():
            correct += best >= iou
        self.images += 1

    def value(self):
        return float(np.mean([correct.max() / self.images for correct in self.correct.values()]))


def made_up(random):
    """A heatmap in steps, so that ties occur, with holes and parts that touch at corners."""
    small = random.random((random.integers(3, 9), random.integers(3, 9)), dtype=np.float32) ** 2
    heatmap = cv2.resize(small, SIZE) + random.random((SIZE[1], SIZE[0]), dtype=np.float32) * np.float32(random.choice([0, 0.1]))
    heatmap = np.round(normalised(np.float32(heatmap)) * 64) / np.float32(64)
    boxes = []
    for _ in range(random.integers(1, 4)):
        x0, y0 = random.uniform(0, SIZE[0] - 12), random.uniform(0, SIZE[1] - 12)
        boxes.append([x0, y0, random.uniform(x0 + 8, SIZE[0]), random.uniform(y0 + 8, SIZE[1])])
    return normalised(heatmap), np.float32(boxes).round(1)


def main():
    random = np.random.default_rng(5)
    tensors, accuracy, images = {}, BoxAccuracy(), 16
    for i in range(images):
        heatmap, boxes = made_up(random)
        accuracy.add(heatmap, boxes)
        tensors |= {
            f"{i}/heatmap": heatmap,
            f"{i}/boxes": boxes,
            f"{i}/pointing": np.float32(pointing(heatmap, boxes, TOLERANCE)),
            f"{i}/iou_15": np.float32(box_overlap(heatmap, boxes, 0.15)),
            f"{i}/iou_20": np.float32(box_overlap(heatmap, boxes, 0.2)),
            f"{i}/energy": np.float32(energy(heatmap, boxes)),
        }
    tensors["max_box_acc_v2"] = np.float32(accuracy.value())
    facts = {"tolerance": TOLERANCE, "images": images, "versions": versions("opencv-python-headless", "numpy")}
    save(HERE / "boxes.safetensors", tensors, facts)
    print({name: [round(float(tensors[f"{i}/{name}"]), 3) for i in range(images)] for name in ("pointing", "iou_15", "iou_20", "energy")}, tensors["max_box_acc_v2"])


if __name__ == "__main__":
    main()
