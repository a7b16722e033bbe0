"""The file of --catalogue: titles of items, including items without any event.

A CSV file, packed or not, with the columns item_id and title; other columns are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from model.config import ModelConfig
from model.errors import NextclickError
from model.networks.by_name import places_by_title
from replay.reading.packed_files import CUT_OFF, open_file

COLUMNS = ("item_id", "title")
TitlesFile = Annotated[
    Path | None,
    typer.Option(help="CSV file with item_id and title: items to list before their first event, by text-gru"),
]


def titles_for(config: ModelConfig, path: Path | None) -> dict[str, str] | None:
    """The titles that a network adds to its vocabulary beside the training events' items.

    Returns None for a network that learns items from events alone, {} when it reads titles and no file
    is given. Raises NextclickError when a file is given for a network that reads no titles.
    """
    if places_by_title(config):
        return {} if path is None else read_titles(path)
    if path is not None:
        raise NextclickError(
            f"network {config.network} cannot list an item without events",
            "It knows items by the events it learned from, and --catalogue names items without; nothing was "
            "trained.",
            "Leave --catalogue away, or choose --network text-gru.",
        )
    return None


def read_titles(path: Path) -> dict[str, str]:
    """Titles by item id; a repeated id keeps its last title, and rows without a title are left out.

    Raises NextclickError when the file cannot be read or lacks a column.
    """
    with open_file(path) as file:
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        except (ValueError, *CUT_OFF) as error:
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
