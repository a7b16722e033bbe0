"""An example receiver: prints each alert that Alertmanager posts, with the address of its runbook row.

python deploy/alertmanager/receiver.py 127.0.0.1:9095 [RUNBOOKS]
RUNBOOKS is where this repository can be read, such as https://git.example.com/nextclick/blob/main; without
it the row is named by its path. GET answers whether it runs.
Tested by tests/deploy/test_alertmanager.py.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOST_BYTES = 1 << 20


def told(receiver: str, posted: dict[str, Any], runbooks: str = "") -> list[str]:
    """A line for each alert: receiver, state, severity, name, summary, runbook.

    >>> labels = {"alertname": "NextclickStalled", "severity": "critical"}
    >>> notes = {"summary": "w1 stalls", "runbook": "deploy/docs/runbook.md#nextclickstalled"}
    >>> alert = {"status": "firing", "labels": labels, "annotations": notes}
    >>> told("on-call", {"alerts": [alert]}, "https://git.example.com/nextclick/blob/main/")
    ['on-call firing critical NextclickStalled: w1 stalls \
(https://git.example.com/nextclick/blob/main/deploy/docs/runbook.md#nextclickstalled)']
    """
    lines = []
    for alert in posted["alerts"]:
        labels, notes = alert["labels"], alert["annotations"]
        row = notes.get("runbook", "no runbook")
        # Prometheus may have made it an address already (prometheus.yml, external_labels).
        if runbooks and "runbook" in notes and "://" not in row:
            row = f"{runbooks.rstrip('/')}/{row}"
        lines.append(
            f"{receiver} {alert['status']} {labels.get('severity', 'none')} {labels['alertname']}: "
            f"{notes.get('summary', '')} ({row})"
        )
    return lines


class Receiver(BaseHTTPRequestHandler):
    """Answers 400 to what is no notification, so that Alertmanager says so and sends it again."""

    runbooks = ""

    def do_GET(self) -> None:
        """Answer that it runs."""
        self._answer(200)

    def do_POST(self) -> None:
        """Print the alerts of one notification."""
        size = int(self.headers.get("Content-Length") or 0)
        if size > MOST_BYTES:
            self._answer(413)
            return
        try:
            lines = told(self.path.strip("/"), json.loads(self.rfile.read(size)), self.runbooks)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._answer(400)
            return
        # In one piece: notifications come side by side, and print would write each line's end apart.
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        self._answer(200)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests: what is printed are alerts."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    Receiver.runbooks = sys.argv[2] if len(sys.argv) > 2 else ""
    ThreadingHTTPServer((host, int(port)), Receiver).serve_forever()
