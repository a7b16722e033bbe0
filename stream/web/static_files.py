"""The files of the live page, read once at start: a fixed table of names with type, hash and gzip.

A requested name is only looked up in the table; it never becomes a path.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "static"
TYPES = {
    "index.html": "text/html",
    "openapi.json": "application/json",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "element.js": "text/javascript",
    "theme.js": "text/javascript",
    "try.js": "text/javascript",
    "why.js": "text/javascript",
    "live.js": "text/javascript",
    "chart.js": "text/javascript",
    "sessions.js": "text/javascript",
    "models.js": "text/javascript",
    "rules.js": "text/javascript",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
    "uPlot.LICENSE": "text/plain",
    "mark.svg": "image/svg+xml",
}


@dataclass(frozen=True)
class StaticFile:
    """One file, plain and compressed."""

    content: bytes
    compressed: bytes
    content_type: str
    etag: str

    def answer(self, request: web.BaseRequest) -> web.Response:
        """The file, compressed if the client accepts gzip; 304 if the client has it already."""
        headers = {"Cache-Control": "no-cache", "ETag": self.etag, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304, headers=headers)
        body = self.content
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = self.compressed
        return web.Response(body=body, content_type=self.content_type, charset="utf-8", headers=headers)


def load_static_files() -> dict[str, StaticFile]:
    """Every file of the table by its name.

    >>> load_static_files()["page.css"].content_type
    'text/css'
    """
    found = {}
    for name, content_type in TYPES.items():
        content = (FOLDER / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        found[name] = StaticFile(content, gzip.compress(content, 9, mtime=0), content_type, f'"{digest}"')
    return found
