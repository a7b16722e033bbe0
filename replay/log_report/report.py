"""The report on a log: its figures, read in one pass.

Item figures are exact; session figures come from a sample of whole sessions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.log_report.session_figures import SessionFigures, session_figures
from replay.log_report.session_sample import SessionSample, hashes
from replay.log_report.survey import DAY_MS, HOUR_MS, LogSurvey
from stream.event_log.logged_events import LoggedEvents
from stream.log_mapping import LogMapping

ZIPF_RANKS = (10, 1000)


@dataclass(frozen=True)
class ItemFigures:
    """Popularity and age of items: exact, except for ages, which come from the sampled sessions.

    zipf               minus the slope of log count over log rank, ranks 10 to 1,000
    gini               0 when all items are equally popular, near 1 when one has all events
    new_a_day          median over the days, without the first one, that have at least a twentieth
                       of the busiest day's events
    number_popularity  Spearman's correlation of the number in an item's id with its events
    """

    items: int
    seen_once: int
    gini: float
    zipf: float | None
    top_20: float
    top_percent: float
    median_age_h: float | None
    younger_than_a_day: float
    new_by_day: dict[int, int]
    new_a_day: float | None
    number_popularity: float | None


@dataclass(frozen=True)
class Contained:
    """How much of a test log the training log contains; shares of the test's sampled part."""

    sessions: float
    events: float
    before_the_end: float


@dataclass(frozen=True)
class LogReport:
    """All figures of a log. Times are epoch milliseconds, `days` counted in UTC.

    `times` says by file what its times were seen to be, and by which of them; `notes` what a topic lacks.
    """

    files: list[str]
    events: int
    kinds: dict[str, int]
    users: int | None
    users_exact: bool
    first_ms: int
    last_ms: int
    step_ms: int
    backward_rows: float
    missing: dict[str, float]
    rejects: dict[str, int]
    read: dict[str, dict[str, int]]
    times: dict[str, str]
    hours: dict[int, int]
    items: ItemFigures
    counts: npt.NDArray[np.int64]
    sessions: SessionFigures
    contained: Contained | None
    notes: list[str]

    @property
    def days(self) -> dict[int, int]:
        """Events by day since 1970, including days without events."""
        found: dict[int, int] = dict.fromkeys(range(self.first_ms // DAY_MS, self.last_ms // DAY_MS + 1), 0)
        for hour, count in self.hours.items():
            found[hour * HOUR_MS // DAY_MS] += count
        return found

    @property
    def hours_of_day(self) -> list[int]:
        """Events by hour of the day, UTC."""
        found = [0] * 24
        for hour, count in self.hours.items():
            found[hour % 24] += count
        return found

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain values, without the arrays for plots; days as dates."""
        sessions = asdict(self.sessions)
        for name in ("gaps_ms", "final_gaps_ms"):
            del sessions[name]
        items = {**asdict(self.items), "new_by_day": _dated(self.items.new_by_day)}
        return {
            "files": self.files,
            "events": self.events,
            "kinds": self.kinds,
            "users": self.users,
            "first_event_time_ms": self.first_ms,
            "last_event_time_ms": self.last_ms,
            "time_step_ms": self.step_ms,
            "backward_rows": self.backward_rows,
            "missing": self.missing,
            "rejects": self.rejects,
            "notes": self.notes,
            "read": self.read,
            "times": self.times,
            "events_by_day": _dated(self.days),
            "events_by_hour_of_day": self.hours_of_day,
            "items": items,
            "sessions": sessions,
            "contained_test": None if self.contained is None else asdict(self.contained),
            "exact": {
                "events, kinds, times, days, hours, missing, rejects, items, popularity": True,
                "users": self.users_exact,
                "sessions, lengths, gaps, repeats, order, ages": self.sessions.one_in == 1,
            },
        }


def _dated(days: dict[int, int]) -> dict[str, int]:
    return {str(np.datetime64(day, "D")): count for day, count in days.items()}


def report_on(
    paths: Sequence[Path],
    *,
    test: Sequence[Path] = (),
    format: str | None = None,
    columns: LogMapping | str | None = None,
    on_error: str = "skip",
    topic: LoggedEvents | None = None,
    kept_events: int | None = None,
    progress: Callable[[int], None] = lambda events: None,
) -> LogReport:
    """Read the files, or the `topic`, once and report on them, and compare `test` files with them.

    `kept_events` bounds the sampled events in memory. Raises NextclickError when there are no events.
    """
    rejects: Counter[str] = Counter()
    sample = SessionSample(kept_events) if kept_events else SessionSample()
    survey = LogSurvey(sample)
    named = EventFiles(paths, format, columns, on_error, topic=topic)
    reader = named.open()
    for frame in reader.read(rejects):
        survey.add(frame)
        progress(survey.events)
    if survey.first_ms is None or survey.last_ms is None:
        raise NextclickError(
            f"{', '.join(str(path) for path in paths)}: no events",
            f"Left out: {dict(rejects) or 'nothing'}.",
            "Name a file that has events.",
        )
    table = survey.items().table
    counts = survey.items().counts
    return LogReport(
        [path.name for path in paths] if topic is None else [f"topic {topic.source}"],
        survey.events,
        dict(sorted(survey.kinds.items(), key=lambda pair: -pair[1])),
        survey.users.count() if "user_id" in survey.missing else None,
        survey.users.exact,
        survey.first_ms,
        survey.last_ms,
        survey.step_ms,
        survey.backward_rows / max(1, survey.events - 1),
        {name: count / survey.events for name, count in survey.missing.items()},
        dict(rejects),
        dict(reader.accounts),
        {path: unit.evidence for path, unit in reader.times.items()},
        dict(sorted(survey.hours.items())),
        _item_figures(table, counts, survey),
        counts,
        session_figures(sample),
        _contained(sample, replace(named, paths=test, topic=None), survey.last_ms) if test else None,
        [note for logged in reader.logged for note in logged.notes()],
    )


def _item_figures(table: pd.DataFrame, counts: npt.NDArray[np.int64], survey: LogSurvey) -> ItemFigures:
    days, new = np.unique(table["first_ms"] // DAY_MS, return_counts=True)
    new_by_day = dict(zip(days.tolist(), new.tolist(), strict=True))
    # On the first day every item is new; a day of a few late events is not typical.
    events_by_day: Counter[int] = Counter()
    for hour, count in survey.hours.items():
        events_by_day[hour * HOUR_MS // DAY_MS] += count
    enough = 0.05 * max(events_by_day.values())
    full = [day for day, events in events_by_day.items() if events >= enough and day > min(new_by_day)]
    between = [new_by_day.get(day, 0) for day in full]
    ages = _ages(table, survey)
    return ItemFigures(
        len(counts),
        int((counts == 1).sum()),
        gini(counts),
        zipf(counts),
        float(counts[:20].sum() / counts.sum()),
        float(counts[: max(1, len(counts) // 100)].sum() / counts.sum()),
        float(np.median(ages)) if len(ages) else None,
        float((ages < 24).mean()) if len(ages) else 0.0,
        new_by_day,
        float(np.median(between)) if between else None,
        _number_popularity(table),
    )


def _ages(table: pd.DataFrame, survey: LogSurvey) -> npt.NDArray[np.float64]:
    """Hours between each of the later half of the sampled events and its item's first event."""
    rows = survey.sample.rows()
    rows = rows[rows["time_ms"] >= np.median(rows["time_ms"])] if len(rows) else rows
    names = hashes(pd.Series(table.index.to_numpy(object)))
    order = np.argsort(names)
    found = order[np.searchsorted(names[order], rows["item"])]
    ages: npt.NDArray[np.float64] = (rows["time_ms"] - table["first_ms"].to_numpy()[found]) / HOUR_MS
    return ages


def gini(counts: npt.NDArray[np.int64]) -> float:
    """Gini's coefficient of counts in falling order: 0 when all are equal, near 1 when one has all.

    >>> gini(np.array([5, 5, 5, 5]))
    0.0
    """
    ranks = np.arange(len(counts), 0, -1)
    return float(2 * (ranks * counts).sum() / (len(counts) * counts.sum()) - (len(counts) + 1) / len(counts))


def zipf(counts: npt.NDArray[np.int64]) -> float | None:
    """Minus the slope of log count over log rank, ranks 10 to 1,000; None with fewer than 100 items."""
    first, last = ZIPF_RANKS
    if len(counts) < 10 * first:
        return None
    ranks = np.arange(first, min(last, len(counts)) + 1)
    return float(-np.polyfit(np.log(ranks), np.log(counts[ranks - 1]), 1)[0])


def _number_popularity(table: pd.DataFrame) -> float | None:
    """Spearman's correlation; None when ids have no number, or with fewer than 100 items."""
    digits = pd.Series(table.index.astype(str)).str.extract(r"^\D*(\d{1,15})$")[0]
    if len(table) < 100 or digits.isna().mean() > 0.1:
        return None
    known = digits.notna().to_numpy()
    numbers = digits[known].astype("int64").rank()
    events = pd.Series(table["events"].to_numpy()[known]).rank()
    if numbers.nunique() < 2 or events.nunique() < 2:
        return None
    return float(np.corrcoef(numbers, events)[0, 1])


def _contained(training: SessionSample, test: EventFiles, last_ms: int) -> Contained:
    sample = SessionSample()
    for frame in test.read():
        sample.add(frame, hashes(frame["session_id"]), hashes(frame["item_id"]))
    ours, theirs = training.rows(), sample.rows()
    # At the coarser of the two rates both samples have the same sessions.
    shift = np.uint64(64 - max(training.halvings, sample.halvings))
    if shift < 64:
        ours, theirs = ours[ours["session"] >> shift == 0], theirs[theirs["session"] >> shift == 0]
    keys = [rows[["session", "item", "time_ms"]].astype(KEY).view("V24").ravel() for rows in (theirs, ours)]
    sessions = np.unique(theirs["session"])
    if not len(theirs):
        return Contained(0.0, 0.0, 0.0)
    return Contained(
        float(np.isin(sessions, ours["session"]).mean()),
        float(np.isin(keys[0], keys[1]).mean()),
        float((theirs["time_ms"] < last_ms).mean()),
    )


KEY = np.dtype([("session", "<u8"), ("item", "<u8"), ("time_ms", "<i8")])
