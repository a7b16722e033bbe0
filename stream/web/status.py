"""The views for operators: metrics, health, readiness, accounting, quality. They read memory only.

Tested by tests/integration/test_web.py, test_worker.py and test_quality.py.
"""

from __future__ import annotations

from typing import Any

from faust.web import View
from prometheus_client import CollectorRegistry, generate_latest

from stream.quality.cells import SYSTEMS, Whole
from stream.quality.sums import Measured, measured
from stream.web.rate_limit import RateLimit
from stream.worker.pipeline import Pipeline

# After a second's pause for each, so that a few scrapes see what has just happened.
RENDERS_AT_ONCE = 5


class StatusViews:
    """The state of one worker; `registry` has the Prometheus series."""

    def __init__(self, pipeline: Pipeline, registry: CollectorRegistry) -> None:
        self._pipeline = pipeline
        self._counters = pipeline.counters
        self._registry = registry
        self._rendered, self._renders = b"", RateLimit(1, RENDERS_AT_ONCE)

    async def metrics(self, web: View, request: Any) -> Any:
        """Every Prometheus series, as text; rendered once a second where many ask, whoever they are."""
        if not self._renders.wait_s("") or not self._rendered:
            self._rendered = generate_latest(self._registry)
        return web.bytes(self._rendered, content_type="text/plain")

    async def health(self, web: View, request: Any) -> Any:
        """Always alive when it answers, since a thread that fails ends the process."""
        return web.json({"alive": True})

    async def ready(self, web: View, request: Any) -> Any:
        """200 while events are stepped, else 503 with the reason, and the progress of a recovery."""
        recovering = list(self._pipeline.recovering.items())
        why_not = self._pipeline.why_not_ready
        body = {
            "ready": not why_not,
            "why_not": why_not or None,
            "recovering": {str(n): {"done": done, "total": total} for n, (done, total) in recovering},
        }
        return web.json(body, status=503 if why_not else 200)

    async def status(self, web: View, request: Any) -> Any:
        """The current model, lag, partitions, accounting, quality, shadow and experiment.

        `quality` is of events that the version has not learned from; `in_sample` of the others, which
        says nothing of the lists to come. `learned_until_ms` is None where the manifest does not record it.
        """
        prequential, live = self._counters.prequential, self._pipeline.live
        return web.json(
            {
                "model": self._pipeline.live.current.version if self._pipeline.live.ready else None,
                "ready": not self._pipeline.why_not_ready,
                "why_not_ready": self._pipeline.why_not_ready or None,
                "lists": self._counters.lists,
                "lag": self._pipeline.lag,
                "level": self._pipeline.source.level,
                "partitions": sorted(self._pipeline.source.partitions),
                "topic_id": self._pipeline.topic_id or None,
                "begun_anew": sorted(self._counters.begun_anew),
                "sessions": self._pipeline.sessions,
                "accounting": self._counters.accounting(self._pipeline.in_flight),
                "waiting": {
                    str(number): why for number, why in dict(self._pipeline.source.held.waiting).items()
                },
                "producer_faults": dict(self._counters.producer_faults),
                "refused_versions": list(self._counters.refused_versions),
                "quality": _by_system(prequential.overall()),
                "in_sample": {
                    "learned_until_ms": live.current.learned.until_ms if live.ready else None,
                    "quality": _by_system(prequential.in_sample()),
                },
                "shadow": self._pipeline.shadow.report(),
                "experiment": live.experiment_report(),
                "items": live.catalogue.report(),
                "rules": live.catalogue.rules_report(),
            }
        )

    async def quality(self, web: View, request: Any) -> Any:
        """Quality sums, for stream.quality.collect to add; their windows end at `until_ms`, if given."""
        until_ms = request.query.get("until_ms")
        if until_ms is not None and not (until_ms.isascii() and until_ms.isdigit() and len(until_ms) < 16):
            return web.json({"error": f"until_ms is epoch milliseconds, not {until_ms!r}"}, status=400)
        sums = self._counters.prequential.sums(None if until_ms is None else int(until_ms))
        return web.bytes(sums.to_json(), content_type="application/json")


def _by_system(sums: dict[str, Whole]) -> dict[str, dict[str, dict[str, float]]]:
    """Recall@20 and MRR@20 of each system over the newest events, and in total since the start."""
    rolling, total = measured(sums["newest"]), measured(sums["total"])
    return {
        system: {"rolling": _quality(rolling.get(system)), "total": _quality(total.get(system))}
        for system in SYSTEMS
    }


def _quality(found: Measured | None) -> dict[str, float]:
    if found is None:
        return {"events": 0, "recall_at_20": 0.0, "mrr_at_20": 0.0}
    return {"events": found.events, "recall_at_20": found.recall.mean, "mrr_at_20": found.mrr.mean}
