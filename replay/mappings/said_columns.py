"""What a person has said of a log, in the words of --columns, and not all of it.

Tested by tests/unit/replay/mappings/test_guess.py.
"""

from __future__ import annotations

from model.errors import NextclickError
from replay.mappings.log_sample import LogSample
from stream.log_mapping import REQUIRED, Column, LogMapping, parse_mapping

# Stands for a column that a person has not named.
UNSAID = "?"
# Says that a log has no column of kinds.
NONE = "none"


def said_mapping(text: str) -> LogMapping:
    """What a person has said of a log, in the words of --columns, and not all of it.

    Raises NextclickError when it is no part of a mapping.

    >>> said_mapping("item=sku").columns
    {'item': 'sku', 'session': '?', 'time': '?'}
    """
    said = {part.partition("=")[0].strip() for part in text.split(",") if "=" in part}
    needed = ("user", "item", "time") if "sessions" in said else REQUIRED
    filled = [text] if text else []
    return parse_mapping(",".join([*filled, *(f"{role}={UNSAID}" for role in needed if role not in said)]))


def column_of(sample: LogSample, column: Column) -> Column:
    """A column as the sample names it: a number stands for a name where there is a header.

    Raises NextclickError for one that the log lacks.
    """
    if isinstance(column, int) and column not in sample.columns and column <= len(sample.columns):
        return sample.columns[column - 1]
    if column not in (*sample.columns, NONE):
        raise NextclickError(
            f"the log has no column {column}",
            f"It has {', '.join(map(str, sample.columns))}.",
            "Name its own columns with --columns.",
        )
    return column
