"""A small shop beside a worker, to copy from: its clicks go to the worker, its pages show the worker's lists.

    nextclick demo                          # or any worker with NEXTCLICK_WEB_EVENTS=true
    python deploy/examples/shop/shop.py     # then open http://127.0.0.1:8000

The browser never asks the worker: the shop does, and gives each visitor a session in a cookie that no script
reads. WORKER and PORT name other addresses, TOKEN is one with the roles read and post (nextclick token).
Python's library alone; a real shop has its own server in this one's place.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

WORKER = os.environ.get("WORKER", "http://127.0.0.1:6066")
PAGE = Path(__file__).with_name("page.html")
TIMEOUT_S = 5.0
SESSION, KINDS = "shop_session", ("view", "cart", "purchase")
MOST_BYTES = 4_096
POLICY = "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'"


def ask(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the worker answers, as JSON. Raises OSError when it does not, ValueError when it refuses."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(WORKER + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as refusal:
        if refusal.code >= 500:
            raise
        raise ValueError(refusal.read().decode(errors="replace")) from None


class Shop(BaseHTTPRequestHandler):
    """One visitor's request."""

    # The session that this answer gives to a new visitor.
    _made = ""

    def do_GET(self) -> None:
        """The page, products of a search, and the visitor's list."""
        url = urlsplit(self.path)
        if url.path == "/":
            self._session()
            self._send(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        elif url.path == "/products":
            query = parse_qs(url.query).get("q", [""])[0]
            self._answer(lambda: ask(f"/api/items?limit=12&q={quote(query)}"))
        elif url.path == "/list":
            # The home page: what the session is shown before it clicks on.
            self._answer(lambda: ask(f"/api/recommendations/{self._session()}?k=6"))
        else:
            self._send(404, b"{}")

    def do_POST(self) -> None:
        """A click, put into the basket or bought; answered with the list that it causes."""
        self._answer(self._click if self.path == "/click" else lambda: {})

    def _click(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        said = json.loads(self.rfile.read(min(length, MOST_BYTES)))
        kind = said.get("kind", "view") if isinstance(said, dict) else None
        if kind not in KINDS or not isinstance(said.get("item_id"), str):
            raise ValueError("a click has an item_id, and a kind of view, cart or purchase")
        # The session is the cookie's, whatever the browser says; the worker stamps the time.
        event = {"session_id": self._session(), "item_id": said["item_id"], "kind": kind}
        found: dict[str, Any] = ask("/api/events", event)["list"] or {"items": []}
        return found

    def _session(self) -> str:
        try:
            kept = SimpleCookie(self.headers.get("Cookie", "")).get(SESSION)
        except CookieError:
            kept = None
        if kept is not None and kept.value.isalnum():
            return kept.value
        self._made = self._made or secrets.token_hex(16)
        return self._made

    def _answer(self, make: Any) -> None:
        try:
            code, content = 200, make()
        except ValueError as refusal:
            code, content = 400, {"error": str(refusal)}
        except (OSError, HTTPException) as away:
            # A shop without recommendations is still a shop.
            print(f"the worker does not answer: {away}", file=sys.stderr)
            code, content = 200, {"items": []}
        self._send(code, json.dumps(content).encode())

    def _send(self, code: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        if self._made:
            self.send_header("Set-Cookie", f"{SESSION}={self._made}; HttpOnly; SameSite=Strict; Path=/")
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Shop)
    print(f"the shop: http://127.0.0.1:{server.server_port}, of the worker at {WORKER}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
