"""Writes a synthetic log to a file, block by block: CSV, JSON lines or Parquet.

CSV has the columns of Globo's files (timestamp_ms, session_id, user_id, item_id); JSON lines and
Parquet have the fields of an event.

Tested by tests/unit/replay/synthetic/test_shopper_stream.py.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from model.errors import NextclickError
from replay.synthetic.shopper_stream import Ints, Rows, ShopperStream
from replay.synthetic.shoppers import Truth

SUFFIXES = (".csv", ".jsonl", ".parquet")
SESSIONS_OF_A_USER = 4


def write_log(
    stream: ShopperStream, path: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Truth:
    """Write the whole log to `path`, in the format of its suffix. Returns what is known of the log.

    The file appears at `path` when it is complete. Raises NextclickError for an unknown suffix, or
    when the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise NextclickError(
            f"{path} ends in {path.suffix or 'nothing'}",
            "The ending says the format, and it is none of these: " + ", ".join(SUFFIXES) + ".",
            "Name a file such as clicks.csv.",
        )
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            _write(stream, path.suffix, file, progress)
        unfinished.replace(path)
    except OSError as error:
        raise NextclickError(
            f"{path} cannot be written: {error.strerror or error}",
            "The log is not there.",
            "Make room, or name another file.",
        ) from None
    finally:
        unfinished.unlink(missing_ok=True)
    return stream.truth


def _write(stream: ShopperStream, suffix: str, file: IO[bytes], progress: Callable[[int, int], None]) -> None:
    writer: Any = None
    done = 0
    for rows in stream.blocks():
        if suffix == ".jsonl":
            file.write(_json_lines(rows))
        else:
            table = _globo(rows) if suffix == ".csv" else _events(rows)
            if writer is None:
                writer = (
                    pa.csv.CSVWriter(file, table.schema, write_options=UNQUOTED)
                    if suffix == ".csv"
                    else pq.ParquetWriter(file, table.schema, compression="zstd")
                )
            writer.write_table(table)
        done += len(rows)
        progress(done, stream.settings.events)
    if writer is not None:
        writer.close()


UNQUOTED = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")


def _named(prefix: str, numbers: Ints, negative: str | None = None) -> pa.Array:
    """Ids as text: `prefix` and the number; `negative` and its absolute value below zero."""
    digits = pc.cast(pa.array(abs(numbers) if negative else numbers), pa.string())
    names = pc.binary_join_element_wise(prefix, digits, "")
    if negative is None:
        return names
    return pc.if_else(pa.array(numbers < 0), pc.binary_join_element_wise(negative, digits, ""), names)


def _globo(rows: Rows) -> pa.Table:
    users = rows.session // SESSIONS_OF_A_USER
    return pa.table(
        {
            "timestamp_ms": rows.time_ms,
            "session_id": _named("s", rows.session, "bot"),
            "user_id": _named("u", users, "bot"),
            "item_id": _named("i", rows.item),
        }
    )


def _events(rows: Rows) -> pa.Table:
    kind = pa.DictionaryArray.from_arrays(pa.array([0] * len(rows), pa.int8()), ["view"])
    return pa.table(
        {
            "session_id": _named("s", rows.session, "bot"),
            "item_id": _named("i", rows.item),
            "event_time_ms": rows.time_ms,
            "kind": kind.cast(pa.string()),
        }
    )


def _json_lines(rows: Rows) -> bytes:
    lines = pc.binary_join_element_wise(
        '{"session_id":"',
        _named("s", rows.session, "bot"),
        '","event_time_ms":',
        pc.cast(pa.array(rows.time_ms), pa.string()),
        ',"item_id":"',
        _named("i", rows.item),
        '"}\n',
        "",
    )
    # The texts of a string array are contiguous in its buffer.
    first, last = lines.offset, lines.offset + len(lines)
    ends = memoryview(lines.buffers()[1]).cast("i")
    buffer = io.BytesIO()
    buffer.write(memoryview(lines.buffers()[2])[ends[first] : ends[last]])
    return buffer.getvalue()
