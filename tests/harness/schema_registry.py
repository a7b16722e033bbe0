"""A real schema registry, and a way to it that can be closed, as a network closes it."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from replay.end_to_end.worker_process import free_port

SCRIPT = Path(__file__).parent.parent.parent / "deploy" / "registry.sh"
API = "/apis/ccompat/v7"


class Registry:
    """Registers schemas; `url` is the registry's own address."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}{API}"

    def register(self, subject: str, kind: str, schema: object, **more: Any) -> int:
        """Register a schema → its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = json.dumps({"schemaType": kind, "schema": text, **more})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        connection.request("POST", f"{API}/subjects/{subject}/versions", body, headers)
        answer = connection.getresponse()
        found = json.load(answer)
        connection.close()
        assert answer.status == 200, found
        return int(found["id"])

    @contextmanager
    def way(self, port: int) -> Iterator[list[str]]:
        """Pass requests to `port` on to the registry while in this context → the paths that were asked."""
        asked: list[str] = []
        to = self.port

        class Passing(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                connection = http.client.HTTPConnection("127.0.0.1", to, timeout=60)
                connection.request("GET", self.path)
                answer = connection.getresponse()
                body = answer.read()
                connection.close()
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Passing)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    """A registry of its own, ended with this context."""
    port = free_port()
    started = subprocess.run(
        [str(SCRIPT), "start", "--dir", str(folder), "--port", str(port)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stderr
    try:
        yield Registry(port)
    finally:
        subprocess.run([str(SCRIPT), "stop", "--dir", str(folder)], check=True, capture_output=True)


def wire(schema_id: int, record: bytes, indexes: bytes = b"") -> bytes:
    """A record in the Confluent wire format."""
    return b"\0" + schema_id.to_bytes(4, "big") + indexes + record
