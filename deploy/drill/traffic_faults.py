"""Faults of what comes in: items that no model knows, no events, events that all tell one time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.drill.fault import Fault, Step, nothing_heals
from deploy.drill.stage import Stage


@contextmanager
def unknown_items(stage: Stage) -> Iterator[Step]:
    """Every click is of an item under another id."""
    stage.traffic.unknown_items = True
    try:
        yield nothing_heals
    finally:
        stage.traffic.unknown_items = False


@contextmanager
def no_traffic(stage: Stage) -> Iterator[Step]:
    """Nothing is sent."""
    stage.traffic.paused = True
    try:
        yield nothing_heals
    finally:
        stage.traffic.paused = False


@contextmanager
def clock_stands(stage: Stage) -> Iterator[Step]:
    """Every event tells the time at which the fault began."""
    stage.traffic.stamp_ms = int(time.time() * 1000)
    try:
        yield nothing_heals
    finally:
        stage.traffic.stamp_ms = None


TRAFFIC_FAULTS = [
    Fault("unknown-items", "items under other ids", ("NextclickUnknownItems",), 600, unknown_items),
    Fault("no-traffic", "no events", ("NextclickNoTraffic",), 600, no_traffic, has_gap=False),
    Fault("clock", "events' clock stands still", ("NextclickEventTimeStands",), 600, clock_stands),
]
