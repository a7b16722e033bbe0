"""Scored events, and a web address that answers with their sums as a worker does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from stream.quality.observed_event import ObservedEvent
from stream.quality.prequential import Prequential
from stream.quality.windows import BUCKET_MS

START_MS = 1_700_000_000_000 // BUCKET_MS * BUCKET_MS


def scored(first_ms: int, count: int, fading: float = 0.99) -> Prequential:
    """One hit every minute."""
    prequential = Prequential(1000, fading)
    for n in range(count):
        now_ms = first_ms + 60_000 * n
        prequential.add([ObservedEvent(0, now_ms, now_ms, f"s{n}", "i", True, 1, "v", 1, 0, ())])
    return prequential


@contextmanager
def quality_view(prequential: Prequential) -> Iterator[str]:
    """The address of a worker that answers /api/quality with what was scored."""

    class View(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            until = parse_qs(urlsplit(self.path).query).get("until_ms")
            body = prequential.sums(int(until[0]) if until else None).to_json()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Nothing: the tests' output is not its log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), View)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
