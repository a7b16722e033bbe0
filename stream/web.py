"""The worker's web views: metrics, health, readiness, accounting, quality. Read-only."""

from __future__ import annotations

from typing import Any

import faust
from prometheus_client import generate_latest

from stream.pipeline import Pipeline


def add_views(app: faust.App, pipeline: Pipeline) -> None:
    """Add the views to a Faust app; each answers from memory."""
    telemetry = pipeline.telemetry

    @app.page("/metrics")
    async def metrics(web: Any, request: Any) -> Any:
        telemetry.refresh(pipeline.live.current.version)
        return web.bytes(generate_latest(telemetry.registry), content_type="text/plain")

    @app.page("/health")
    async def health(web: Any, request: Any) -> Any:
        """Alive: the process answers. A thread that fails ends the process."""
        return web.json({"alive": True})

    @app.page("/ready")
    async def ready(web: Any, request: Any) -> Any:
        """Ready: a warm model, and every assigned partition recovered."""
        recovering = list(pipeline.recovering.items())
        body = {
            "ready": pipeline.ready,
            "recovering": {str(n): {"done": done, "total": total} for n, (done, total) in recovering},
        }
        return web.json(body, status=200 if pipeline.ready else 503)

    @app.page("/api/status")
    async def status(web: Any, request: Any) -> Any:
        quality = {
            system: {
                "rolling": _quality(rolling.rolling()),
                "total": _quality(rolling.total()),
            }
            for system, rolling in telemetry.prequential.systems.items()
        }
        return web.json(
            {
                "model": pipeline.live.current.version if pipeline.live.ready else None,
                "ready": pipeline.ready,
                "lists": telemetry.lists,
                "lag": pipeline.source.lag,
                "level": pipeline.source.level,
                "partitions": sorted(pipeline.source.partitions),
                "sessions": pipeline.sessions,
                "accounting": telemetry.accounting(pipeline.in_flight),
                "quality": quality,
            }
        )


def _quality(quality: Any) -> dict[str, float]:
    return {"events": quality.events, "recall_at_20": quality.recall, "mrr_at_20": quality.mrr}
