"""What the `make_*.py` scripts share: a deterministic safetensors writer and the versions to record.

The scripts need Python 3.11 with torch, torchvision, grad-cam, torchcam, captum, onnx, onnxscript,
onnxruntime, safetensors, pillow and scikit-learn. The tests need only what the scripts wrote.
"""

import json
import math
import pathlib
import platform
import struct
from importlib import metadata

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
# Trained networks and photographs stand beside the project.
SHARED = HERE.parents[2] / "shared"

DTYPES = {"float32": "F32", "uint8": "U8", "int32": "I32", "int64": "I64", "bool": "BOOL"}


def save(path, tensors, facts):
    """Writes `tensors` (name -> array) with `facts` (name -> anything JSON) as `__metadata__` strings.

    The library's own writer orders metadata at random; here the same values give the same bytes.
    """
    header, blobs, offset = {}, [], 0
    header["__metadata__"] = {name: json.dumps(fact) for name, fact in sorted(facts.items())}
    for name, tensor in sorted(tensors.items()):
        tensor = np.asarray(tensor)
        if tensor.dtype == np.float64:
            tensor = tensor.astype(np.float32)
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all() and "non-finite" not in facts:
            raise ValueError(f"{path}: {name} is not finite")
        blob = np.asarray(tensor, order="C").tobytes()
        header[name] = {
            "dtype": DTYPES[str(tensor.dtype)],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        offset += len(blob)
        blobs.append(blob)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(blobs))
    print(f"{path.relative_to(HERE)}: {len(tensors)} tensors, {path.stat().st_size / 1000:.1f} kB")


def versions(*packages):
    found = {package: metadata.version(package) for package in packages}
    found["python"] = platform.python_version()
    return found


def formula_input(shape):
    """The input for which the trained networks' reference logits were made (NCHW, -1..=1)."""
    i = np.arange(math.prod(shape), dtype=np.uint64)
    return (((i * 2654435761) % 2**32 / 2**32 - 0.5) * 2).astype(np.float32).reshape(shape)
