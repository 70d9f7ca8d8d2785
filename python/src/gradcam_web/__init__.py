"""Class activation maps below a notebook's cell, computed in the browser by the package gradcam-web."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import anywidget
import traitlets

from ._server import PACKAGE, address

__all__ = ["GradCam"]
__version__ = "0.1.0"


def _image(image: Any) -> tuple[str, bytes]:
    """An image as the widget takes it: its address, or its bytes."""
    if isinstance(image, str) and image.startswith(("http:", "https:", "data:", "blob:")):
        return image, b""
    if isinstance(image, (str, pathlib.PurePath)):
        return "", pathlib.Path(image).read_bytes()
    if isinstance(image, (bytes, bytearray, memoryview)):
        return "", bytes(image)
    if not hasattr(image, "save"):
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError("An array becomes a picture by Pillow: pip install pillow") from error
        try:
            image = Image.fromarray(_rgb8(image))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"The image is a {type(image).__name__}; a path, an address, bytes, a PIL picture or an array "
                "[height, width], [height, width, 3] or [height, width, 4] is accepted."
            ) from error
    # PNG has no CMYK, Lab or floats.
    if image.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    file = io.BytesIO()
    image.save(file, format="PNG")
    return "", file.getvalue()


def _rgb8(array: Any) -> Any:
    """An array of any usual kind as bytes 0 to 255, channels last."""
    import numpy

    array = numpy.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
    # torch and others keep channels first.
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype.kind == "f":
        if not (numpy.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"numbers from {array.min()} to {array.max()}; floats are taken from 0 to 1")
        array = (array * 255).round()
    elif array.dtype == bool:
        array = array * 255
    return array.astype("uint8")


def _model(model: Any, input_size: tuple[int, int]) -> tuple[str, bytes]:
    """A network as the widget takes it: its address, or an ONNX file's bytes."""
    if model is None:
        return "", b""
    if isinstance(model, (bytes, bytearray, memoryview)):
        return "", bytes(model)
    if isinstance(model, pathlib.PurePath):
        return "", pathlib.Path(model).read_bytes()
    if isinstance(model, str):
        # A manifest is an address, as its page sees it: it names further files.
        is_path = "://" not in model and model.lower().endswith(".onnx")
        return ("", pathlib.Path(model).read_bytes()) if is_path else (model, b"")
    return "", _export(model, input_size)


def _export(module: Any, input_size: tuple[int, int]) -> bytes:
    """Writes a `torch.nn.Module` as ONNX; `input_size` is width and height in pixels."""
    try:
        import torch
    except ImportError:
        torch = None
    if torch is None or not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"The model is a {type(module).__name__}; an address, a path, an ONNX file's bytes or a torch.nn.Module is accepted."
        )
    width, height = input_size
    first = next(module.parameters(), None)
    channels = first.shape[1] if first is not None and first.ndim == 4 else 3
    # Where the module is, which stays there.
    place = {} if first is None else {"device": first.device, "dtype": first.dtype}
    was_training = module.training
    file = io.BytesIO()
    try:
        # The exporter by tracing writes one file and needs no package but onnx.
        torch.onnx.export(
            module.eval(),
            (torch.zeros(1, channels, height, width, **place),),
            file,
            input_names=["input"],
            output_names=["scores"],
            opset_version=17,
            dynamo=False,
        )
    finally:
        module.train(was_training)
    return file.getvalue()


class _Bytes(traitlets.Bytes):
    """Bytes, also as they come from the browser: as a view of the message."""

    def validate(self, obj: Any, value: Any) -> Any:
        return super().validate(obj, bytes(value) if isinstance(value, (memoryview, bytearray)) else value)


class GradCam(anywidget.AnyWidget):
    """An image with the heatmap that explains a class, computed in the browser.

    Parameters
    ----------
    image
        A path, an address, bytes of a picture, a PIL picture, or an array ``[height, width]`` or with 3 or 4 channels.
    model
        An address, the path or bytes of an ONNX file, or a ``torch.nn.Module``; by default the network of the package.
    input_size
        Width and height in pixels at which a ``torch.nn.Module`` is exported.
    labels
        The names of the classes, for a model given as bytes, path or module.
    """

    _esm = PACKAGE / "widget.js"

    bases = traitlets.List(traitlets.Unicode()).tag(sync=True)
    src = traitlets.Unicode("").tag(sync=True)
    image_bytes = _Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    model = traitlets.Unicode("").tag(sync=True)
    model_bytes = _Bytes(b"").tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    method = traitlets.Unicode("grad-cam").tag(sync=True)
    target_class = traitlets.Union([traitlets.Int(), traitlets.Unicode()], allow_none=True, default_value=None).tag(sync=True)
    target_layer = traitlets.Unicode("").tag(sync=True)
    target = traitlets.Unicode("score").tag(sync=True)
    rather_than = traitlets.Union([traitlets.Int(), traitlets.Unicode()], allow_none=True, default_value=None).tag(sync=True)
    aug_smooth = traitlets.Bool(False).tag(sync=True)
    eigen_smooth = traitlets.Bool(False).tag(sync=True)
    colormap = traitlets.Unicode("turbo").tag(sync=True)
    opacity = traitlets.Float(0.5).tag(sync=True)
    opacity_by = traitlets.Unicode("uniform").tag(sync=True)
    threshold = traitlets.Float(0.0).tag(sync=True)
    contours = traitlets.Bool(False).tag(sync=True)
    boxes = traitlets.Bool(False).tag(sync=True)
    caption = traitlets.Bool(False).tag(sync=True)
    backend = traitlets.Unicode("auto").tag(sync=True)
    controls = traitlets.Bool(True).tag(sync=True)

    label = traitlets.Unicode("", help="The name of the explained class.").tag(sync=True)
    class_index = traitlets.Int(-1, help="Its index; -1 before the first heatmap.").tag(sync=True)
    layer = traitlets.Unicode("", help="The target layer.").tag(sync=True)
    probability = traitlets.Float(0.0, help="The probability of the explained class.").tag(sync=True)
    error = traitlets.Unicode("", help="What went wrong; empty if nothing did.").tag(sync=True)
    scores_bytes = _Bytes(b"").tag(sync=True)
    probabilities_bytes = _Bytes(b"").tag(sync=True)
    heatmap_size = traitlets.List(traitlets.Int(), default_value=[0, 0]).tag(sync=True)
    heatmap_bytes = _Bytes(b"").tag(sync=True)
    map_bytes = _Bytes(b"").tag(sync=True)

    def __init__(self, image: Any, model: Any = None, *, input_size: tuple[int, int] = (224, 224), **options: Any) -> None:
        if unknown := sorted(set(options) - set(self._options())):
            raise TypeError(f"GradCam has no option {unknown[0]!r}; there are {', '.join(self._options())}.")
        src, image_bytes = _image(image)
        address_of_model, model_bytes = _model(model, input_size)
        here = address()
        super().__init__(
            bases=[here] if here else [],
            src=src,
            image_bytes=image_bytes,
            model=address_of_model,
            model_bytes=model_bytes,
            **options,
        )

    @classmethod
    def _options(cls) -> list[str]:
        results = ("label", "class_index", "layer", "probability", "error", "bases", "src", "model", "heatmap_size")
        own = [name for name in cls.__dict__ if isinstance(cls.__dict__[name], traitlets.TraitType)]
        return [name for name in own if name not in results and not name.endswith("_bytes")]

    def _numbers(self, data: bytes, shape: tuple[int, ...]) -> Any:
        import numpy

        return numpy.frombuffer(data, "<f4").reshape(shape) if data else None

    @property
    def scores(self) -> Any:
        """The scores (logits) of all classes as a numpy array; ``None`` before the first heatmap."""
        return self._numbers(self.scores_bytes, (-1,))

    @property
    def probabilities(self) -> Any:
        """The probabilities of all classes as a numpy array; ``None`` before the first heatmap."""
        return self._numbers(self.probabilities_bytes, (-1,))

    @property
    def heatmap(self) -> Any:
        """The heatmap at the layer's size, ``[h, w]``, from 0 to 1; ``None`` before it is drawn."""
        return self._numbers(self.heatmap_bytes, tuple(self.heatmap_size[::-1]))

    @property
    def map(self) -> Any:
        """The raw class activation map, ``[h, w]``; ``None`` before it is drawn."""
        return self._numbers(self.map_bytes, tuple(self.heatmap_size[::-1]))
