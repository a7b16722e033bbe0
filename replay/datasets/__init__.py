"""Event files as frames: detect the format, read in chunks, say exactly what is wrong.

A frame has the columns session_id, item_id, event_time_ms and kind, and user_id, price,
brand, category and title where the format, or the metadata beside it, has them. `read` keeps
memory bounded and the order of the file; `load` returns the whole log in event-time order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from replay.datasets.detection import FORMATS, METADATA, detect
from replay.datasets.event_files import EventFiles
from replay.datasets.event_filter import EventFilter

__all__ = ["FORMATS", "METADATA", "EventFiles", "EventFilter", "detect", "load", "read"]


def read(
    paths: Sequence[Path],
    *,
    format: str | None = None,
    columns: str | None = None,
    on_error: str = "stop",
    wanted: EventFilter | None = None,
    rejects: Counter[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """Event frames of bounded size, in the order of the files; see EventFiles."""
    yield from EventFiles(paths, format=format, columns=columns, on_error=on_error, wanted=wanted).read(
        rejects
    )


def load(
    paths: Sequence[Path],
    *,
    format: str | None = None,
    columns: str | None = None,
    on_error: str = "stop",
    wanted: EventFilter | None = None,
    rejects: Counter[str] | None = None,
) -> pd.DataFrame:
    """The whole log in event-time order, stable for equal times. Raises NextclickError without events."""
    return EventFiles(paths, format=format, columns=columns, on_error=on_error, wanted=wanted).load(rejects)
