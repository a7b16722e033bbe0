"""A catalogue: the titles of items, also of those that no log has an event of yet.

A CSV file, packed or not, with the columns item_id and title; other columns are left alone.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from model.errors import NextclickError
from replay.datasets.source import CUT_OFF, open_file

COLUMNS = ("item_id", "title")


def read_catalogue(path: Path) -> dict[str, str]:
    """Item id → title, of an id that stands twice the last one; rows without a title are left out.

    Raises NextclickError when the file cannot be read or lacks a column.
    """
    with open_file(path) as file:
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        except (OSError, ValueError, *CUT_OFF) as error:
            raise _unreadable(path, str(error)) from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise _unreadable(path, f"it has no column {' or '.join(missing)}")
    rows = zip(table["item_id"].str.strip(), table["title"].str.strip(), strict=True)
    return {item: title for item, title in rows if item and title}


def _unreadable(path: Path, why: str) -> NextclickError:
    return NextclickError(
        f"{path}: {why}",
        "It does not read as a catalogue; nothing was trained.",
        "Name a CSV file with the columns item_id and title.",
    )
