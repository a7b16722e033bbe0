"""MIND news clicks, behaviors.tsv: impression, user, time, history, shown news; tab-separated, no header.

A shown news with -1 behind it was clicked; news without a mark, as in the test set, say nothing and are left
out. The history has no times and is not read. The user is the session, which the session gap cuts; the
clicks of an impression have one time.

Tested by tests/unit/replay/datasets/test_records_of_events.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from replay.mappings.json_records import line_records, record_chunks, rows_as_read
from replay.mappings.role_columns import convert
from replay.reading.account import FileAccount
from replay.reading.format import Chunk, Format, UnreadableLine
from replay.reading.packed_files import WholeLines
from stream.log_mapping import LogMapping

COLUMNS = ("impression", "user", "time", "history", "shown")
PATTERN = "%m/%d/%Y %I:%M:%S %p"
LINE = re.compile(r"^\d+\t[^\t]+\t\d+/\d+/\d{4} \d+:\d\d:\d\d [AP]M\t[^\t]*\t\S+-[01]( \S+-[01])*$")
MAPPING = LogMapping({"user": "user", "item": "shown", "time": "time"}, time_unit=PATTERN, sessions="gap")
ROLES = ("user", "item", "time")


def clicks(line: bytes) -> list[tuple[str, ...]]:
    """User, item and time of each click of an impression. Raises UnreadableLine.

    >>> clicks(b"1\\tU7\\t11/14/2019 9:05:58 AM\\tN3\\tN4-1 N9-0")
    [('U7', 'N4', '11/14/2019 9:05:58 AM')]
    """
    fields = line.decode("utf-8", "replace").split("\t")
    if len(fields) != len(COLUMNS):
        raise UnreadableLine(f"wrong number of fields, {len(fields)} instead of {len(COLUMNS)}")
    _, user, time, _, shown = fields
    return [(user, one.removesuffix("-1"), time) for one in shown.split() if one.endswith("-1")]


def chunks(lines: WholeLines, account: FileAccount, block_bytes: int) -> Iterator[Chunk]:
    """The clicks of a file; an impression without a click counts as a blank line."""
    return record_chunks(ROLES, rows_as_read, line_records(lines, block_bytes, clicks), account)


FORMAT = Format(
    "mind",
    "\t",
    COLUMNS,
    False,
    lambda line: bool(LINE.match(line)),
    lambda: partial(convert, mapping=MAPPING),
    chunks=chunks,
    quoted=False,
)
