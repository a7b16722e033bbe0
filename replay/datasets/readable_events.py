"""The events of a chunk that are events: what cannot be read is named or counted.

Tested by tests/unit/replay/datasets/test_event_files.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from model.data.event_filter import EventFilter
from model.errors import NextclickError
from replay.reading.delimited import BrokenRows, broken_line
from replay.reading.format import Chunk, Convert, Format, beyond_the_schema, no_reason, reasons
from replay.reading.values import no_ids, shortened_ids


class NoEvents(NextclickError):
    """Nothing is left of a log."""

    def __init__(self, paths: Sequence[Path], rejects: Mapping[str, int]) -> None:
        super().__init__(
            f"{', '.join(map(str, paths)) or 'no file'}: no events",
            f"Left out: {dict(rejects) or 'nothing'}.",
            "Name a file that has events, or have this one looked at: nextclick data guess FILE",
        )


def readable_events(
    path: Path, form: Format, convert: Convert, chunk: Chunk, on_broken: BrokenRows
) -> pd.DataFrame:
    """The chunk's events. Raises NextclickError at a row that cannot be read, unless such are skipped."""
    converted = convert(chunk.rows)
    on_broken.account.float_ids += converted.float_ids
    beyond, nothing = beyond_the_schema(converted.events), _nothing(converted.events)
    shortened = _shortened(converted.events)
    found = (chunk.broken, converted.broken, converted.left_out, beyond, nothing, shortened)
    if all(map(no_reason, found)):
        on_broken.account.given += len(converted.events)
        return converted.events
    why_left_out = converted.left_out.where(converted.left_out != "", nothing)
    left_out = (why_left_out != "") & (chunk.broken == "")
    reason = converted.broken.where(converted.broken != "", shortened)
    reason = reason.where(reason != "", beyond)
    reason = chunk.broken.where(chunk.broken != "", reason)
    broken = (reason != "") & ~left_out
    if broken.any() and not on_broken.skip:
        row = int(broken.to_numpy().argmax())
        line, text = chunk.line_of(row)
        raise broken_line(path, form, line, reason.iloc[row], text.decode("utf-8", "replace"))
    if on_broken.reject_line is not None:
        for row in broken.to_numpy().nonzero()[0].tolist():
            line, text = chunk.line_of(row)
            on_broken.reject_line(path, line, reason.iloc[row], text)
    count_reasons(on_broken.rejects, why_left_out[left_out])
    count_reasons(on_broken.rejects, reason[broken])
    events = converted.events[~(left_out | broken)].reset_index(drop=True)
    on_broken.account.given += len(events)
    on_broken.account.left_out += int((left_out | broken).sum())
    on_broken.account.unreadable += int(broken.sum())
    return events


def _nothing(events: pd.DataFrame) -> pd.Series[str]:
    """Why a row is of no session or no item: its id is a word for nothing."""
    checks = []
    for name, reason in (("session_id", "no session"), ("item_id", "no item")):
        if name in events and (nothing := no_ids(events[name])).any():
            if name == "item_id" and "kind" in events:
                nothing &= events["kind"] != "session_end"
            checks.append((nothing, reason))
    return reasons(events.index, *checks)


def _shortened(events: pd.DataFrame) -> pd.Series[str]:
    """Why a row has no id that is sure: a float has cut its digits off."""
    names = [name for name in ("session_id", "item_id") if name in events]
    checks = (
        (shortened_ids(events[name]), f"{name} has lost digits in a float, such as 1e+16") for name in names
    )
    return reasons(events.index, *checks)


def count_reasons(rejects: Counter[str], reasons: pd.Series[str]) -> None:
    """Add how often each reason occurs."""
    for name, count in reasons.value_counts().items():
        rejects[str(name)] += int(count)


def nothing_wanted(
    paths: Sequence[Path], wanted: EventFilter, filtered: int, categories: Counter[str]
) -> NextclickError:
    """The error of files of which the filter has left out all events; `categories` are of the first ones."""
    common = ", ".join(name for name, _ in categories.most_common(8))
    return NextclickError(
        f"{', '.join(map(str, paths))}: no event {wanted}",
        f"All {filtered:,} events are left out; "
        + (f"the first ones are of the categories {common}." if common else "they have no category."),
        "Name another --kind, --category or --where, or the metadata file that says the categories.",
    )
