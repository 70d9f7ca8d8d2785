"""Writes `seeds/` from the tests' own data: whole networks of every form, small ones, and small pictures of every format."""

import json
import pathlib
import shutil
import struct

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent / "tests/data"
LARGEST = 2000


def models(name):
    data = (DATA / f"{name}.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for key, entry in sorted(header.items()):
        if key.endswith("/model"):
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            yield key.removesuffix("/model"), data[begin:end]


shutil.rmtree(HERE / "seeds", ignore_errors=True)
for folder in ["onnx", "picture"]:
    (HERE / "seeds" / folder).mkdir(parents=True)
for name, model in models("forms"):
    if len(model) <= LARGEST:
        (HERE / "seeds/onnx" / f"{name}.onnx").write_bytes(model)
for folder in ["images", "pictures"]:
    for path in sorted((DATA / folder).iterdir()):
        if path.is_file() and path.suffix != ".svg" and path.stat().st_size <= LARGEST:
            (HERE / "seeds/picture" / path.name).write_bytes(path.read_bytes())
