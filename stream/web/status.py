"""The worker's web views: metrics, health, readiness, accounting, quality. Read-only."""

from __future__ import annotations

from typing import Any

import faust
from prometheus_client import CollectorRegistry, generate_latest

from stream.quality.cells import SYSTEMS
from stream.quality.sums import Measured, measured
from stream.web.session import add_session_views
from stream.worker.pipeline import Pipeline


def add_views(app: faust.App, pipeline: Pipeline, registry: CollectorRegistry) -> None:
    """Add the views to a Faust app; each answers from memory."""
    counters = pipeline.counters
    add_session_views(app, pipeline)

    @app.page("/metrics")
    async def metrics(web: Any, request: Any) -> Any:
        return web.bytes(generate_latest(registry), content_type="text/plain")

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
        overall = counters.prequential.overall()
        rolling, total = measured(overall["newest"]), measured(overall["total"])
        quality = {
            system: {"rolling": _quality(rolling.get(system)), "total": _quality(total.get(system))}
            for system in SYSTEMS
        }
        return web.json(
            {
                "model": pipeline.live.current.version if pipeline.live.ready else None,
                "ready": pipeline.ready,
                "lists": counters.lists,
                "lag": pipeline.source.lag,
                "level": pipeline.source.level,
                "partitions": sorted(pipeline.source.partitions),
                "sessions": pipeline.sessions,
                "accounting": counters.accounting(pipeline.in_flight),
                "quality": quality,
                "shadow": pipeline.shadow.report(),
            }
        )

    @app.page("/api/quality")
    async def quality(web: Any, request: Any) -> Any:
        """Sums to be added to those of other workers; their windows end at `until_ms`, if it is given."""
        until_ms = request.query.get("until_ms")
        if until_ms is not None and not (until_ms.isascii() and until_ms.isdigit() and len(until_ms) < 16):
            return web.json({"error": f"until_ms is epoch milliseconds, not {until_ms!r}"}, status=400)
        sums = counters.prequential.sums(None if until_ms is None else int(until_ms))
        return web.bytes(sums.to_json(), content_type="application/json")


def _quality(found: Measured | None) -> dict[str, float]:
    if found is None:
        return {"events": 0, "recall_at_20": 0.0, "mrr_at_20": 0.0}
    return {"events": found.events, "recall_at_20": found.recall.mean, "mrr_at_20": found.mrr.mean}
