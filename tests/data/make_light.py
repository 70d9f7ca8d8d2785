"""Writes `light.safetensors`: the expected outputs of the nine public graphs in `../shared/models/light`.

The graphs ship with the `onnx` package, beside the outputs that its authors computed once
(`onnx/backend/test/data/light/NAME_output_0.pb`). Their input, as onnx's test runner makes it (`generate_dummy_data`):
a ramp, x[i] = i / n as f32 computed in f64, i the flat index in the only graph input that is no initialiser, n its
number of elements. The weights are ConstantOfShape nodes in the files.

Layout:
- NAME -> output (f32);
- `NAME/mean` and `NAME/deviation` (f32 [values]): mean and population standard deviation of every f32 value of the
  graph, in the order of `values`, as onnxruntime computes them without optimisation. All weights in these files being
  constants, the outputs say little (mostly 1/1000); the values on the way say more.

`__metadata__` (JSON): `inputs` { NAME: { "name", "shape" } }; `input`: the rule in words; `values` { NAME: [[name of the
value, shape], ...] }: outputs of the nodes in the file's order; `difference`: of onnxruntime to the expected outputs,
relative to the largest; `versions`.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from fixture import HERE, SHARED, save, versions


def every_value(path, input_name, x):
    """{name: array} of the outputs of all nodes but those that only make constants, in the file's order."""
    proto = onnx.load(path)
    made = [out for node in proto.graph.node if node.op_type not in ("Constant", "ConstantOfShape") for out in node.output]
    declared = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name and name not in declared)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    arrays = dict(zip(names, session.run(None, {input_name: x})))
    return {name: arrays[name] for name in made if name}


def main():
    package = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"
    tensors, inputs, differences, values = {}, {}, {}, {}
    for path in sorted(package.glob("*.onnx")):
        beside = SHARED / "models/light" / path.name
        if beside.exists() and beside.read_bytes() != path.read_bytes():
            raise ValueError(f"{beside} is not the file of the onnx package")
        graph = onnx.load(path).graph
        initialised = {tensor.name for tensor in graph.initializer}
        (fed,) = [value for value in graph.input if value.name not in initialised]
        shape = [dim.dim_value for dim in fed.type.tensor_type.shape.dim]
        count = np.prod(shape)
        x = (np.arange(count) / count).astype(np.float32).reshape(shape)
        proto = onnx.TensorProto.FromString((package / f"{path.stem}_output_0.pb").read_bytes())
        expected = numpy_helper.to_array(proto)

        every = every_value(path, fed.name, x)
        actual = every[graph.output[0].name]
        difference = float(np.abs(actual - expected).max() / np.abs(expected).max())
        if actual.shape != expected.shape or difference > 1e-3:
            raise ValueError(f"{path.name}: onnxruntime differs by {difference}")
        name = path.stem.removeprefix("light_")
        tensors[name], differences[name] = expected, difference
        floats = {value: array for value, array in every.items() if array.dtype == np.float32}
        values[name] = [[value, list(array.shape)] for value, array in floats.items()]
        tensors[f"{name}/mean"] = np.float32([array.mean(dtype=np.float64) for array in floats.values()])
        tensors[f"{name}/deviation"] = np.float32([array.std(dtype=np.float64) for array in floats.values()])
        inputs[name] = {"name": fed.name, "shape": shape}
        print(f"  {name}: input {shape}, output {list(expected.shape)} {expected.min():.6g}..{expected.max():.6g}, differs from onnxruntime by {difference:.1e}")
    facts = {
        "inputs": inputs,
        "input": "x[i] = f32(f64(i) / f64(n)), i the flat index, n the number of elements",
        "values": values,
        "difference": differences,
        "versions": versions("onnx", "onnxruntime", "numpy"),
    }
    save(HERE / "light.safetensors", tensors, facts)


if __name__ == "__main__":
    main()
