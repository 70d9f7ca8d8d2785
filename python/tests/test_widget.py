"""What the widget hands to the browser, and what it refuses."""

import io
import urllib.error
import urllib.request

import numpy
import pytest
from gradcam_web import GradCam
from gradcam_web._server import PACKAGE, address
from PIL import Image


def pixels(png: bytes):
    return numpy.asarray(Image.open(io.BytesIO(png)))


def test_arrays_become_the_same_pixels():
    array = numpy.arange(4 * 5 * 3, dtype="uint8").reshape(4, 5, 3)
    assert (pixels(GradCam(array).image_bytes) == array).all()
    floats = array / 255
    assert (pixels(GradCam(floats).image_bytes) == array).all()
    first = numpy.ascontiguousarray((array / 255).transpose(2, 0, 1))
    assert (pixels(GradCam(first).image_bytes) == array).all()
    assert (pixels(GradCam(array[:, :, 0]).image_bytes) == array[:, :, 0]).all()


def test_paths_bytes_and_addresses_are_taken_as_they_are(tmp_path):
    Image.new("RGB", (3, 2), (200, 30, 60)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert GradCam(tmp_path / "a.png").image_bytes == data
    assert GradCam(str(tmp_path / "a.png")).image_bytes == data
    assert GradCam(data).image_bytes == data
    widget = GradCam("https://example.org/a.png", model=b"\x08\x07")
    assert (widget.src, widget.image_bytes, widget.model_bytes) == ("https://example.org/a.png", b"", b"\x08\x07")


def test_wrong_input_is_refused_by_a_sentence():
    with pytest.raises(TypeError, match="array"):
        GradCam(numpy.full((2, 2, 3), 7.0))
    with pytest.raises(TypeError, match="torch.nn.Module is accepted"):
        GradCam(b"x", model=3)
    with pytest.raises(TypeError, match="no option 'methd'"):
        GradCam(b"x", methd="cam")
    with pytest.raises(FileNotFoundError):
        GradCam("nothing.jpg")
    with pytest.raises(FileNotFoundError):
        GradCam(b"x", model="nothing.onnx")


def test_pictures_of_any_kind_become_png():
    for mode in ("1", "L", "P", "RGBA", "CMYK", "YCbCr", "LAB", "F", "I"):
        assert Image.open(io.BytesIO(GradCam(Image.new(mode, (3, 2))).image_bytes)).size == (3, 2)


def test_results_are_arrays():
    widget = GradCam(b"x")
    assert widget.heatmap is None and widget.scores is None
    widget.heatmap_size = [3, 2]
    widget.heatmap_bytes = numpy.arange(6, dtype="<f4").tobytes()
    assert widget.heatmap.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_results_arrive_as_views_of_a_message():
    widget = GradCam(b"x")
    view = memoryview(numpy.array([0.5, 2], dtype="<f4").tobytes())
    widget.set_state({"class_index": 1, "scores_bytes": view, "heatmap_size": [2, 1], "heatmap_bytes": view})
    assert (widget.class_index, widget.scores.tolist(), widget.heatmap.tolist()) == (1, [0.5, 2], [[0.5, 2]])


def test_the_server_gives_the_package_and_nothing_else():
    with urllib.request.urlopen(address() + "widget.js") as answer:
        assert answer.read() == (PACKAGE / "widget.js").read_bytes()
        assert answer.headers["Content-Type"] == "text/javascript"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    for path in ("../pyproject.toml", "", "../../etc/passwd"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address() + path)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(address().rsplit("/", 2)[0] + "/widget.js")


def test_a_module_is_exported_at_its_size_and_left_as_it_was():
    torch = pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    nn = torch.nn
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d((10, 18)), nn.Flatten(), nn.Linear(4, 3))
    data = GradCam(b"x", model=module, input_size=(20, 12)).model_bytes
    assert module.training
    picture = torch.rand(1, 1, 12, 20)
    (scores,) = onnxruntime.InferenceSession(data).run(None, {"input": picture.numpy()})
    with torch.no_grad():
        assert numpy.allclose(scores, module.eval()(picture), atol=1e-6)
