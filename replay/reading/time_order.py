"""Whether the times of a file never fall, judged by their texts alone, without converting events.

Texts of one shape sort like the times they denote. The check includes rows that are not events: when
the times of all rows ascend, those of the events do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.reading.delimited import open_columns
from replay.reading.format import Format
from replay.reading.packed_files import WholeLines, open_file


@dataclass(frozen=True)
class Span:
    """The first and the last time of a file as texts; both "" without rows."""

    first: str = ""
    last: str = ""


def ascending_span(path: Path, form: Format, *, block_bytes: int) -> Span | None:
    """The span of a file whose times never fall; None when they fall, or when the texts cannot say.

    Raises NextclickError when the file cannot be opened.
    """
    if form.time_shape is None or form.parquet or form.parse is not None:
        return None
    column, shape = form.time_shape
    first = last = ""
    with open_file(path) as file:
        try:
            for batch in open_columns(path, form, WholeLines(file), [column], block_bytes=block_bytes):
                texts = batch.column(0)
                if not len(texts):
                    continue
                if not _have_shape(texts, shape) or texts[0].as_py() < last:
                    return None
                if pc.any(pc.less(texts.slice(1), texts.slice(0, len(texts) - 1))).as_py():
                    return None
                first, last = first or texts[0].as_py(), texts[-1].as_py()
        except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError):
            # Reading the events reports what is wrong.
            return None
    return Span(first, last)


def _have_shape(texts: pa.LargeStringArray, shape: str) -> bool:
    """Whether every text has the length of the shape and its characters, or digits up to its digits."""
    lengths = pc.binary_length(texts)
    if pc.min_max(lengths).as_py() != {"min": len(shape), "max": len(shape)}:
        return False
    _, offsets, data = texts.buffers()
    start = np.frombuffer(offsets, np.int64)[texts.offset]
    characters: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8)[start : start + len(texts) * len(shape)]
    rows = characters.reshape(len(texts), len(shape))
    most = np.frombuffer(shape.encode(), np.uint8)
    least = np.array([ord("0") if character.isdigit() else ord(character) for character in shape], np.uint8)
    return bool(((rows >= least) & (rows <= most)).all())
