"""The views for operators: metrics, health, readiness, accounting, quality. They read memory only.

The first of several processes asks the others, and answers for all.
Tested by tests/integration/test_web.py, test_worker.py and test_quality.py.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.web import View
from prometheus_client import CollectorRegistry, generate_latest

from stream.processes.combined import (
    OK,
    combined_metrics,
    combined_quality,
    combined_ready,
    combined_status,
)
from stream.processes.siblings import Siblings
from stream.quality.cells import SYSTEMS, Whole
from stream.quality.sums import Measured, QualitySums, measured
from stream.web.rate_limit import RateLimit
from stream.worker.pipeline import Pipeline

# After a second's pause for each, so that a few scrapes see what has just happened.
RENDERS_AT_ONCE = 5


class StatusViews:
    """The state of one worker; `registry` has the Prometheus series."""

    def __init__(
        self, pipeline: Pipeline, registry: CollectorRegistry, siblings: Siblings | None = None
    ) -> None:
        self.siblings = siblings
        self._pipeline = pipeline
        self._counters = pipeline.counters
        self._registry = registry
        self._rendered, self._renders = b"", RateLimit(1, RENDERS_AT_ONCE)

    async def metrics(self, web: View, request: Any) -> Any:
        """Every Prometheus series, as text; rendered once a second where many ask, whoever they are."""
        if not self._renders.wait_s("") or not self._rendered:
            self._rendered = await self._render()
        return web.bytes(self._rendered, content_type="text/plain")

    async def health(self, web: View, request: Any) -> Any:
        """Always alive when it answers, since a thread that fails ends the process.

        503 while another process, whose start has succeeded, does not answer.
        """
        if self.siblings is not None:
            table = self.siblings.table
            serving = {number for number in range(1, table.processes) if table.serves(number)}
            answers = await self.siblings.ask("/health")
            # One that has ended meanwhile is started again.
            silent = [
                n for n, answer in answers.items() if answer is None and n in serving and table.serves(n)
            ]
            if silent:
                return web.json({"alive": False, "silent_processes": silent}, status=503)
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
        if self.siblings is not None:
            body = combined_ready(body, await self.siblings.ask("/ready"))
        return web.json(body, status=200 if body["ready"] else 503)

    async def status(self, web: View, request: Any) -> Any:
        """The current model, lag, partitions, accounting, quality, shadow and experiment.

        `quality` is of events that the version has not learned from; `in_sample` of the others, which
        says nothing of the lists to come. `learned_until_ms` is None where the manifest does not record it.
        """
        own = self._own_status()
        if self.siblings is None:
            return web.json(own)
        return web.json(combined_status(own, await self.siblings.ask("/api/status"), self.siblings))

    def _own_status(self) -> dict[str, Any]:
        prequential, live = self._counters.prequential, self._pipeline.live
        return {
            "worker_id": self._pipeline.worker_id,
            "model": live.current.version if live.ready else None,
            "session_gap_s": live.current.rule.gap_s if live.ready else None,
            "mapping_session_gap_s": live.log_gap_s,
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
            "waiting": {str(number): why for number, why in dict(self._pipeline.source.held.waiting).items()},
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
            "purchases": live.catalogue.purchases.report(),
            "rules": live.catalogue.rules_report(),
        }

    async def quality(self, web: View, request: Any) -> Any:
        """Quality sums, for stream.quality.collect to add; their windows end at `until_ms`, if given."""
        until_ms = request.query.get("until_ms")
        if until_ms is not None and not (until_ms.isascii() and until_ms.isdigit() and len(until_ms) < 16):
            return web.json({"error": "until_ms is epoch milliseconds"}, status=400)
        until = None if until_ms is None else int(until_ms)
        sums = self._counters.prequential.sums(until)
        if self.siblings is None:
            return web.bytes(sums.to_json(), content_type="application/json")
        if until is None:
            # All end where that of the process farthest ahead does.
            found = await self.siblings.ask("/api/quality")
            theirs = [QualitySums.from_json(one.body) for one in found.values() if one and one.status == OK]
            until = max(one.until_ms for one in (sums, *theirs))
            sums = self._counters.prequential.sums(until)
        found = await self.siblings.ask(f"/api/quality?until_ms={until}")
        bodies = [one.body for one in found.values() if one is not None and one.status == OK]
        if len(bodies) < len(found):
            return web.json({"error": "another process of this worker does not answer"}, status=503)
        text = await asyncio.to_thread(combined_quality, [sums.to_json(), *bodies])
        return web.bytes(text, content_type="application/json")

    async def _render(self) -> bytes:
        if self.siblings is None:
            return generate_latest(self._registry)
        answers = await self.siblings.ask("/metrics")
        texts = {number: one.body for number, one in answers.items() if one is not None and one.status == OK}
        self.siblings.answered = frozenset(texts)
        return await asyncio.to_thread(combined_metrics, {0: generate_latest(self._registry), **texts})


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
