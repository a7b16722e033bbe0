"""One open session as people see it: its items, its last list, the items nearest to its state.

Read from a copy of the state in a separate thread, so that no wave waits for it.
Tested by tests/integration/test_session_view.py.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from faust.web import View

from model.inspection.similar_items import similar_items
from model.networks.network import GradientNetwork
from stream.asking.titles import title_of
from stream.kafka.partitioner import partition_of
from stream.sessions.session_state import SessionState
from stream.wave.serving_model import ServingModel
from stream.wave.step import row_of
from stream.worker.pipeline import Pipeline

NEAREST_ITEMS = 10


def view_of(
    session_id: str, partition: int, state: SessionState, watermark_ms: int, serving: ServingModel
) -> dict[str, Any]:
    """A session as the API shows it.

    `position` counts the session's events; `items` are the newest of them, oldest first. `age_s` is
    the event time since its last event; `open` says whether the next event continues it. `list` is the
    list that it was shown last, with `event_id` None when a later event got no list. `nearest` are the
    items whose vectors are nearest to its hidden state by cosine, None for a model without vectors.
    """
    age_ms = max(0, watermark_ms - state.last_event_time_ms)
    silence_ms = serving.rule.silence_before_expiry_ms
    shown = None
    if state.list_items:
        scores = np.frombuffer(state.list_scores, np.float32).tolist()
        shown = {
            "model_version": state.model_version,
            "event_id": None if state.unlisted else f"{partition}-{state.newest_offset}",
            "event_time_ms": None if state.unlisted else state.last_event_time_ms,
            "items": [
                {**_item(item, serving), "score": score}
                for item, score in zip(state.list_items, scores, strict=True)
            ],
        }
    return {
        "session_id": session_id,
        "partition": partition,
        "open": silence_ms is None or age_ms <= silence_ms,
        "items": [_item(item, serving) for item in state.recent_items],
        "position": state.position,
        "last_event_time_ms": state.last_event_time_ms,
        "age_s": age_ms / 1000,
        "model_version": state.model_version or None,
        "list": shown,
        "nearest": _nearest(state, serving),
    }


def _item(item_id: str, serving: ServingModel) -> dict[str, Any]:
    return {"item_id": item_id, "title": title_of(serving.listable.titles, item_id)}


def _nearest(state: SessionState, serving: ServingModel) -> list[dict[str, Any]] | None:
    if not isinstance(serving.stepper.scoring_network, GradientNetwork):
        return None
    found = similar_items(serving.stepper, row_of(state, serving), NEAREST_ITEMS)
    if found is None:
        return None
    names = [serving.vocabulary.item_ids[index] for index in found[0]]
    return [
        {**_item(item, serving), "similarity": cosine}
        for item, cosine in zip(names, found[1].tolist(), strict=True)
        if item is not None
    ]


class SessionViews:
    """The view of one session, read from the partitions of this worker."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def session(self, web: View, request: Any, session_id: str) -> Any:
        """The session, or 404 with the reason why it is not shown."""
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(None, self._read, session_id)
        return web.json(body, status=404 if "error" in body else 200)

    def _read(self, session_id: str) -> dict[str, Any]:
        """The session as `view_of` shows it, or `error` with the reason why there is none."""
        pipeline = self._pipeline
        number = partition_of(session_id, pipeline.partitions)
        if not pipeline.live.ready:
            return {"error": "no model is in service yet"}
        found = pipeline.read_state(number, session_id)
        if found is None:
            why = "is being recovered" if number in pipeline.recovering else "is not this worker's"
            return {"error": f"its partition, {number}, {why}"}
        state, watermark_ms = found
        if state is None or not state.recent_items:
            return {"error": f"no session of this id is open in partition {number}"}
        now = pipeline.live.in_service
        return view_of(session_id, number, state, watermark_ms, now.of(now.side_of(session_id)))
