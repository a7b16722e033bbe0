"""The Prometheus series of services other than the worker: served on a port, or written to a file.

Prometheus scrapes a process that runs on; one that ends with its work writes a file for
node_exporter's textfile collector. A separate thread answers scrapes.

Tested by tests/integration/test_prometheus.py and tests/integration/test_metrics_file.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server, write_to_textfile
from prometheus_client.registry import Collector

from model.errors import NextclickError
from stream.settings import Settings


@contextmanager
def serve_metrics(settings: Settings, collector: Collector) -> Iterator[None]:
    """Answer scrapes at web_host:metrics_port while in this context; do nothing without a port.

    Raises NextclickError when the port cannot be opened.
    """
    if settings.metrics_port is None:
        yield
        return
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(collector)
    try:
        server, thread = start_http_server(settings.metrics_port, settings.web_host, registry)
    except OSError as error:
        raise NextclickError(
            f"metrics cannot be served at {settings.web_host}:{settings.metrics_port}: {error}",
            "Nothing was started.",
            "Name another port in NEXTCLICK_METRICS_PORT, or end the process that has this one.",
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_metrics(path: Path, collector: Collector) -> None:
    """Write the series as a text file, whole or not at all. Raises NextclickError when that fails."""
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise NextclickError(
            f"the metrics file {path} cannot be written: {error}",
            "Prometheus goes on with what the file said before; the run itself is not affected.",
            "Name a file in a folder that is there and may be written to; node_exporter reads *.prom only.",
        ) from None
