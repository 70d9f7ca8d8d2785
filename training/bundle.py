"""What the page loads: an ONNX file with a manifest and labels beside it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Below this, two bytes a number save less than the Cast node costs.
SMALL = 256


def half_precision(proto: onnx.ModelProto):
    """Stores the parameters of `proto` in two bytes each, behind a Cast to f32: the network computes as before.

    Vectors stay as they are: biases and the statistics of normalisation are few, and some are beyond what f16 can say.
    """
    casts, kept = [], []
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else None
        wide = values is not None and values.ndim > 1 and values.size >= SMALL
        if not wide or np.abs(values).max() > np.finfo(np.float16).max:
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.f16"))
        casts.append(helper.make_node("Cast", [f"{tensor.name}.f16"], [tensor.name], name=f"{tensor.name}.cast",
                                      to=TensorProto.FLOAT))
    nodes = casts + list(proto.graph.node)
    del proto.graph.initializer[:], proto.graph.node[:]
    proto.graph.initializer.extend(kept)
    proto.graph.node.extend(nodes)


def describe(proto: onnx.ModelProto, preprocess: dict, labels: list[str], **facts: str):
    """Puts into the file itself what the manifest says, for whoever has the file alone."""
    helper.set_model_props(proto, {
        **{key: json.dumps(preprocess[key]) for key in ("mean", "std")},
        **{key: preprocess[key] for key in ("order", "resize")},
        "labels": json.dumps(labels), **facts})


def write(folder: Path, file: str, contents: bytes, labels: list[str], manifest: dict):
    """Writes `file`, `labels.json` and `model.json` into `folder`. `manifest` is what `model.json` says beyond the file's
    name, length and checksum: at least `name` and `preprocess`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(contents)
    (folder / "labels.json").write_text(json.dumps(labels, indent=0) + "\n")
    entries = {"name": manifest["name"], "file": file, "sha256": hashlib.sha256(contents).hexdigest(),
               "bytes": len(contents), **manifest, "labels": "labels.json"}
    (folder / "model.json").write_text(json.dumps(entries, indent=2) + "\n")
