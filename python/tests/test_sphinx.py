"""The directive: a live figure in HTML, the picture alone elsewhere, and nothing on pages without one."""

import pathlib
import subprocess
import sys

import pytest
from PIL import Image

FILES = {
    "conf.py": 'project = "Figures"\nversion = "1"\ncopyright = "nobody"\nextensions = ["gradcam_web.sphinx"]\n',
    "index.rst": """
Figures
=======

.. grad-cam:: cat.png
   :alt: A "cat" & co
   :class: tabby
   :controls:

   A caption.

.. toctree::

   part/page
   plain
""",
    "part/page.rst": """
Page
====

.. grad-cam:: ../cat.png
   :alt: A cat
   :model: ../net.onnx
""",
    "plain.rst": "Plain\n=====\n\nNothing.\n",
    "net.onnx": "x",
}


@pytest.fixture
def built(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    Image.new("RGB", (3, 2)).save(tmp_path / "cat.png")

    def build(builder: str) -> pathlib.Path:
        out = tmp_path / f"_{builder}"
        # A process each: Sphinx keeps what an extension registers.
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", builder, "-d", tmp_path / "_doctrees", tmp_path, out]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return out

    return build


def test_html_has_the_element_around_the_picture(built):
    out = built("html")
    index = (out / "index.html").read_text()
    assert '<grad-cam target-class="tabby" controls><img' in index
    assert 'src="_images/cat.png"' in index and "A caption." in index
    assert '<script type="module" src="_static/gradcam-web/index.js' in index
    page = (out / "part/page.html").read_text()
    assert '<grad-cam model="../_static/gradcam-web-models/net.onnx">' in page
    assert (out / "_static/gradcam-web-models/net.onnx").read_text() == "x"
    assert (out / "_static/gradcam-web/widget.js").is_file()
    assert "gradcam-web" not in (out / "plain.html").read_text()


def test_pages_in_folders_of_their_own_find_everything(built):
    page = (built("dirhtml") / "part/page/index.html").read_text()
    assert '<grad-cam model="../../_static/gradcam-web-models/net.onnx">' in page
    assert 'src="../../_static/gradcam-web/index.js' in page


@pytest.mark.parametrize("builder, file, wanted", [("latex", "figures.tex", "sphinxincludegraphics"), ("epub", "index.xhtml", "<img")])
def test_elsewhere_the_picture_is_alone(built, builder, file, wanted):
    text = (built(builder) / file).read_text()
    assert wanted in text and "A caption." in text and "grad-cam" not in text.replace("gradcam", "")
