"""The files of the live page, read once: a fixed table of names, each with its type, hash and gzip.

No name that is asked for ever becomes a path.
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
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
    "uPlot.LICENSE": "text/plain",
    "mark.svg": "image/svg+xml",
}


@dataclass(frozen=True)
class PageFile:
    """One file, as it is and compressed."""

    content: bytes
    compressed: bytes
    content_type: str
    etag: str

    def answer(self, request: web.BaseRequest) -> web.Response:
        """The file, or that the asker has it already."""
        headers = {"Cache-Control": "no-cache", "ETag": self.etag, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304, headers=headers)
        body = self.content
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = self.compressed
        return web.Response(body=body, content_type=self.content_type, charset="utf-8", headers=headers)


def page_files() -> dict[str, PageFile]:
    """Name → file."""
    found = {}
    for name, content_type in TYPES.items():
        content = (FOLDER / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        found[name] = PageFile(content, gzip.compress(content, 9, mtime=0), content_type, f'"{digest}"')
    return found
