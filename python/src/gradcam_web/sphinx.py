"""A Sphinx directive: a picture with a live heatmap in HTML, and the picture alone everywhere else.

::

    .. grad-cam:: cat.jpg
       :alt: A cat on a sofa
       :method: grad-cam
       :controls:

       A caption, if there is to be one.
"""

from __future__ import annotations

import html
import pathlib
import posixpath
import shutil
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.parsers.rst.directives.images import Figure
from sphinx.application import Sphinx
from sphinx.util import logging

from . import __version__
from ._server import PACKAGE

log = logging.getLogger(__name__)

# Below Sphinx's _static.
FOLDER = "gradcam-web"
MODELS = "gradcam-web-models"

_TEXT = ("model", "method", "target-class", "target-layer", "target", "rather-than", "colormap", "opacity", "backend")
_MORE_TEXT = ("loading", "threshold", "opacity-by", "labels")
_FLAGS = ("controls", "caption", "aug-smooth", "eigen-smooth", "contours", "boxes")
# Options of the directive with another name as attributes.
_NAMES = {"class": "target-class", "layer": "target-layer"}


class grad_cam(nodes.General, nodes.Element):  # noqa: N801: docutils names nodes so
    """The element around the picture; its attribute `attributes` has the element's."""


class GradCam(Figure):
    """`.. grad-cam:: PICTURE`, with the options of `figure` and the attributes of the element."""

    option_spec = {
        **{name: option for name, option in Figure.option_spec.items() if name not in ("class", "target")},
        **{name: directives.unchanged for name in (*_TEXT, *_MORE_TEXT, *_NAMES)},
        **{name: directives.flag for name in _FLAGS},
    }

    def run(self) -> list[nodes.Node]:
        attributes: dict[str, str] = {}
        for name in list(self.options):
            if name in (*_TEXT, *_MORE_TEXT, *_NAMES):
                attributes[_NAMES.get(name, name)] = self.options.pop(name)
            elif name in _FLAGS:
                attributes[name] = ""
                del self.options[name]
        env = self.state.document.settings.env
        for name in ("model", "labels"):
            if name in attributes:
                attributes[name] = _file(env, attributes[name])
        made = super().run()
        for figure in made:
            image = next(iter(figure.findall(nodes.image)), None)
            if image is None:
                continue
            # A link around the picture would swallow the clicks on the heatmap.
            image["classes"].append("no-scaled-link")
            element = grad_cam("", attributes=attributes)
            image.replace_self(element)
            element.append(image)
        return made


def _file(env: Any, address: str) -> str:
    """A model's file or manifest in the documentation's sources is copied; another address stays as it is."""
    if "://" in address or address in ("imagenet", "everyday"):
        return address
    relative, path = env.relfn2path(address)
    if not pathlib.Path(path).is_file():
        log.warning("grad-cam: there is no file %s", address)
        return address
    env.note_dependency(relative)
    if not hasattr(env, "gradcam_web_files"):
        env.gradcam_web_files = {}
    env.gradcam_web_files[relative] = path
    return f"static:{relative}"


def _visit(writer: Any, node: grad_cam) -> None:
    if writer.builder.name.startswith("epub"):
        return
    # From this page to the root of the site.
    up = "../" * writer.builder.get_target_uri(writer.builder.current_docname).count("/")
    words = []
    for name, value in node["attributes"].items():
        if value.startswith("static:"):
            value = f"{up}_static/{MODELS}/{value.removeprefix('static:')}"
        words.append(f' {name}="{html.escape(value)}"' if value else f" {name}")
    writer.body.append(f"<grad-cam{''.join(words)}>")


def _depart(writer: Any, node: grad_cam) -> None:
    if not writer.builder.name.startswith("epub"):
        writer.body.append("</grad-cam>")


def _pass(writer: Any, node: grad_cam) -> None:
    """The picture alone."""


def _add_script(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    if app.builder.name.startswith("epub") or doctree is None or next(iter(doctree.findall(grad_cam)), None) is None:
        return
    base = app.config.gradcam_web_base or f"{FOLDER}/"
    app.add_js_file(posixpath.join(base, "index.js"), type="module")


def _uses(app: Sphinx) -> bool:
    return bool(getattr(app.env, "gradcam_web_pages", None))


def _note_pages(app: Sphinx, doctree: nodes.document) -> None:
    if next(iter(doctree.findall(grad_cam)), None) is not None:
        if not hasattr(app.env, "gradcam_web_pages"):
            app.env.gradcam_web_pages = set()
        app.env.gradcam_web_pages.add(app.env.docname)


def _forget_page(app: Sphinx, env: Any, docname: str) -> None:
    getattr(env, "gradcam_web_pages", set()).discard(docname)


def _merge(app: Sphinx, env: Any, docnames: Any, other: Any) -> None:
    """What another process of a parallel build has read."""
    env.gradcam_web_pages = getattr(env, "gradcam_web_pages", set()) | getattr(other, "gradcam_web_pages", set())
    env.gradcam_web_files = {**getattr(env, "gradcam_web_files", {}), **getattr(other, "gradcam_web_files", {})}


def _copy(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.format != "html" or app.builder.name.startswith("epub") or not _uses(app):
        return
    static = pathlib.Path(app.outdir) / "_static"
    if not app.config.gradcam_web_base:
        shutil.copytree(PACKAGE, static / FOLDER, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.md", "*.d.ts"))
    for relative, path in getattr(app.env, "gradcam_web_files", {}).items():
        # A manifest names its file and labels relative to itself: its folder comes along.
        source, target = pathlib.Path(path), static / MODELS / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        neighbours = source.parent.iterdir() if source.suffix == ".json" else [source]
        for file in neighbours:
            if file.is_file():
                shutil.copy2(file, target.parent / file.name)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("gradcam_web_base", "", "html", [str])
    plain = (_pass, _pass)
    app.add_node(grad_cam, html=(_visit, _depart), latex=plain, text=plain, man=plain, texinfo=plain)
    app.add_directive("grad-cam", GradCam)
    app.connect("html-page-context", _add_script)
    app.connect("doctree-read", _note_pages)
    app.connect("env-purge-doc", _forget_page)
    app.connect("env-merge-info", _merge)
    app.connect("build-finished", _copy)
    return {"version": __version__, "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}

