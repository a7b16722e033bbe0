"""30Music sessions, sessions.idomaar: session, start in seconds, figures, and the tracks, as JSON.

A line reads `event.session`, the session, its start, an object of figures and an object of links; a tab or
a blank stands between the last two. A track begins `playstart` seconds after the session, where it says so.

Tested by tests/unit/replay/datasets/test_records_of_events.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from replay.mappings.json_records import line_records, record_chunks, rows_as_read
from replay.mappings.role_columns import convert
from replay.reading.account import FileAccount
from replay.reading.format import Chunk, Format, UnreadableLine
from replay.reading.packed_files import WholeLines
from stream.log_mapping import LogMapping

BEGIN = "event.session\t"
COLUMNS = ("event.session", "session", "start", "figures", "links")
ROLES = ("session", "item", "time", "user")
MAPPING = LogMapping({role: role for role in ROLES}, time_unit="s")
_decoder = json.JSONDecoder()


def plays(line: bytes) -> list[tuple[str, ...]]:
    """Session, item, time and user of each track of a session. Raises UnreadableLine.

    >>> plays(b'event.session\\t9\\t1390231051\\t{} {"objects":[{"id":2,"playstart":4}]}')
    [('9', '2', '1390231055', '')]
    """
    text = line.decode("utf-8", "replace")
    fields = text.split("\t", 3)
    if not text.startswith(BEGIN) or len(fields) < 4:
        raise UnreadableLine("no event.session")
    try:
        _, end = _decoder.raw_decode(fields[3])
        links: dict[str, Any] = json.loads(fields[3][end:])
        user = str(next((one["id"] for one in links.get("subjects", ())), ""))
        begin = int(fields[2])
        tracks = [one for one in links.get("objects", ()) if one.get("type", "track") == "track"]
        starts = [str(begin + int(track.get("playstart") or 0)) for track in tracks]
        ids = [str(track["id"]) for track in tracks]
        return [(fields[1], item, start, user) for item, start in zip(ids, starts, strict=True)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnreadableLine("its tracks cannot be read") from None


def chunks(lines: WholeLines, account: FileAccount, block_bytes: int) -> Iterator[Chunk]:
    """The tracks of a file; a session without one counts as a blank line."""
    return record_chunks(ROLES, rows_as_read, line_records(lines, block_bytes, plays), account)


FORMAT = Format(
    "30music",
    "\t",
    COLUMNS,
    False,
    lambda line: line.startswith(BEGIN),
    lambda: partial(convert, mapping=MAPPING),
    chunks=chunks,
    quoted=False,
)
