"""Hands the package's files, which lie in the wheel, to the browser: a server on 127.0.0.1 with one random path."""

from __future__ import annotations

import functools
import http.server
import pathlib
import secrets
import threading

PACKAGE = pathlib.Path(__file__).parent / "package"
if not PACKAGE.is_dir():
    # An editable installation: the package lies where `cargo xtask build` left it.
    PACKAGE = pathlib.Path(__file__).resolve().parents[3] / "pkg"

_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Answers only below the random path, so that another page can't guess what runs here."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, **_TYPES}

    def __init__(self, *arguments, secret: str, **options) -> None:
        self._secret = f"/{secret}/"
        super().__init__(*arguments, directory=str(PACKAGE), **options)

    def send_head(self):
        if not self.path.startswith(self._secret):
            self.send_error(404)
            return None
        self.path = "/" + self.path[len(self._secret) :]
        return super().send_head()

    def list_directory(self, path):
        self.send_error(404)

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        # Chromium asks before a page of a public host may read from this computer.
        self.send_header("Access-Control-Allow-Private-Network", "true")
        super().end_headers()

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments) -> None:
        """A notebook's output is no place for a log."""


@functools.cache
def address() -> str | None:
    """Where the package's files can be had in this process; ``None`` if no port can be had (the browser has no sockets)."""
    secret = secrets.token_urlsafe(16)
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, secret=secret))
        threading.Thread(target=server.serve_forever, name="gradcam-web", daemon=True).start()
    except (OSError, RuntimeError):
        return None
    return f"http://127.0.0.1:{server.server_port}/{secret}/"
