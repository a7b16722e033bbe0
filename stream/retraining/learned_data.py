"""The events that a retraining learns from, and what its version's manifest records of them.

A version keeps what it was made for: a champion of purchases is retrained on purchases, until a run names
other events. Tested by tests/unit/stream/retraining/test_learned_data.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from model.data.event_filter import RECORDED_AS, EventFilter
from model.data.learned_events import LearnedEvents
from model.networks.model_version import ModelVersion
from stream import log_mapping
from stream.event_log.window import EventWindow
from stream.retraining.report import RunReport


def chosen_events(
    window: EventWindow,
    champion: ModelVersion | None,
    choose: Callable[[EventFilter | None], EventFilter],
    notify: Callable[[str], None],
) -> tuple[EventWindow, EventFilter | None]:
    """Returns the window's events that `choose` wants, and the filter to record.

    The filter to record is None where the champion's manifest records none and the run chooses none:
    what the older part of the learned events was is not known.
    """
    recorded = EventFilter.recorded(champion.manifest.get("data", {})) if champion else EventFilter()
    wanted = choose(recorded)
    if champion and recorded is None:
        notify(
            f"the manifest of {champion.version} does not record which kinds of events it was trained on: "
            f"this run learns from events {wanted or 'of all kinds'}"
        )
    elif recorded != wanted:
        before, now = recorded or "of all kinds", wanted or "of all kinds"
        notify(f"the champion learned from events {before}, this run learns from events {now}")
    if wanted:
        is_kept = (wanted.left_out(window.frame) == "").to_numpy(bool)
        left_out = int((~is_kept).sum())
        notify(f"learns from events {wanted}, as its manifest will record: {left_out:,} events left out")
        window = replace(window, frame=window.frame[is_kept].reset_index(drop=True))
    return window, wanted if wanted or recorded is not None else None


def learned_data(
    report: RunReport,
    window: EventWindow,
    learned: pd.DataFrame,
    wanted: EventFilter | None,
    earlier: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Returns what the manifest records of the events `learned`, which come from `window`.

    `earlier` are the data of the champion that the training went on from.
    """
    times_ms = learned["event_time_ms"]
    newest_ms = int(times_ms.max())
    # No time ahead of the wall clock: the next run begins after this event.
    last_ms = min(newest_ms, int(time.time() * 1000))
    before_ms = LearnedEvents.of(earlier or {}).until_ms
    return {
        "run": report.run,
        "champion": report.champion,
        "source": report.source,
        "offsets": {str(n): [first, end] for n, (first, end) in window.offsets.items()},
        "topic_id": window.topic_id or None,
        "events": len(learned),
        "first_event_time_ms": int(times_ms.min()),
        "last_event_time_ms": last_ms,
        "newest_event_time_ms": newest_ms,
        # A version that went on from another knows what that one learned, too.
        "learned_until_ms": max(last_ms, before_ms or last_ms),
        **({} if wanted is None else {RECORDED_AS: wanted.as_dict()}),
        # Of the log that the first of these versions learned from: files of it can still be evaluated.
        **{name: value for name, value in (earlier or {}).items() if name == log_mapping.RECORDED_AS},
    }
