"""The report of a replay: how much was sent and acknowledged, and how late.

`RunningReport` keeps the report of a replay under way and shows it from time to time. It knows the
counts of others (producer, rejected lines, resume state); it sends nothing.

Tested by tests/unit/replay/sending/test_timeline.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from replay.sending.pace import Lateness
from replay.sending.producer import EventProducer
from replay.sending.rejected_lines import RejectedLines
from replay.sending.resume import ResumeState

SHOW_EVERY_S = 0.2
QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
# The published names of attributes whose own name is another one.
PUBLISHED_NAMES = {"acknowledged": "sure", "resumed_after": "resumed_behind"}


@dataclass
class ReplayReport:
    """What was sent. `rejects` counts the rows that were left out or skipped, by reason.

    resumed_after   events that the checkpoint of an interrupted replay accounts for
    found           events that it had sent after its checkpoint, so that they are not sent again
    read            what became of the lines of each file, by path
    others          records that other writers put into the topic (known only with a checkpoint)

    >>> ReplayReport(sent=30, acknowledged=30, seconds=1.5).rate
    20.0
    """

    sent: int = 0
    acknowledged: int = 0
    first_event_time_ms: int | None = None
    last_event_time_ms: int | None = None
    seconds: float = 0.0
    behind_s: float = 0.0
    max_behind_s: float = 0.0
    paused: bool = False
    paused_s: float = 0.0
    loop: int = 0
    pace_error_ms: dict[str, float] = field(default_factory=dict)
    resumed_after: int | None = None
    found: int = 0
    others: int = 0
    dead_letters: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    formats: dict[str, str] = field(default_factory=dict)
    read: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Events per wall second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values under their published names, with the rate."""
        values = {PUBLISHED_NAMES.get(name, name): value for name, value in asdict(self).items()}
        return {**values, "events_per_s": round(self.rate, 1)}


class RunningReport:
    """The report of a replay under way; `show` is called with it at most every SHOW_EVERY_S."""

    def __init__(
        self,
        show: Callable[[ReplayReport], None],
        producer: EventProducer,
        rejected_lines: RejectedLines | None,
        resume: ResumeState | None,
    ) -> None:
        self._show = show
        self._producer = producer
        self._rejected_lines = rejected_lines
        self._resume = resume
        self._lateness = Lateness()
        self.report = ReplayReport(resumed_after=resume.position.events or None if resume else None)
        self.start()

    def start(self) -> None:
        """Count the seconds from now on."""
        self._started_s = self._shown_s = time.perf_counter()

    def add_lateness(self, late_s: npt.NDArray[np.float64]) -> None:
        """Count how late the next events were sent, in seconds; the last one says how far behind it is."""
        self._lateness.add(late_s)
        self.report.behind_s = float(late_s[-1])
        self.report.max_behind_s = self._lateness.max_s

    def set_behind(self, behind_s: float) -> None:
        """Say how far the replay is behind its pace while it waits to send."""
        self.report.behind_s = behind_s
        self.report.max_behind_s = max(self.report.max_behind_s, behind_s)

    def show_if_due(self) -> None:
        """Bring the report up to date and show it, unless that was done a moment ago."""
        if time.perf_counter() - self._shown_s >= SHOW_EVERY_S:
            self.show()

    def show(self) -> None:
        """Bring the report up to date and show it."""
        self._shown_s = time.perf_counter()
        report, lateness = self.report, self._lateness
        report.sent, report.acknowledged = self._producer.sent, self._producer.acknowledged
        report.seconds = self._shown_s - self._started_s
        report.dead_letters = 0 if self._rejected_lines is None else self._rejected_lines.count
        if lateness.count:
            late_ms = {name: round(1000 * lateness.quantile_s(share), 3) for name, share in QUANTILES.items()}
            report.pace_error_ms = {**late_ms, "max": round(1000 * lateness.max_s, 3)}
        if self._resume is not None:
            report.found, report.others = self._resume.found, self._resume.others
        self._show(report)
