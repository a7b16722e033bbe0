"""The file of --catalogue: titles of items, including items without any event.

A file of items as `nextclick items load` takes it, of which the item and the title are read.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from model.config import ModelConfig
from model.errors import NextclickError
from model.networks.by_name import places_by_title
from replay.commands.catalogue_file import catalogue_file
from replay.item_files.item_mapping import ITEM
from replay.item_files.item_rows import RowsRead

TITLE = "title"
TitlesFile = Annotated[
    Path | None,
    typer.Option(
        help="file of items with titles, of any layout: items to list before their first event, by text-gru"
    ),
]
TitlesColumns = Annotated[
    str | None,
    typer.Option(
        help="what is what in --catalogue: item=sku,title=name, or a TOML file, items.toml, as "
        "`nextclick items guess` writes it; default: guessed by names, and shown"
    ),
]


def titles_for(config: ModelConfig, path: Path | None, columns: str | None = None) -> dict[str, str] | None:
    """The titles that a network adds to its vocabulary beside the training events' items.

    Returns None for a network that learns items from events alone, {} when it reads titles and no file
    is given. Raises NextclickError when a file is given for a network that reads no titles, and
    typer.BadParameter for columns without a file.
    """
    if path is None and columns is not None:
        raise typer.BadParameter("--catalogue-columns says what is what in --catalogue, and none is named")
    if places_by_title(config):
        return {} if path is None else read_titles(path, columns)
    if path is not None:
        raise NextclickError(
            f"network {config.network} cannot list an item without events",
            "It knows items by the events it learned from, and --catalogue names items without; nothing was "
            "trained.",
            "Leave --catalogue away, or choose --network text-gru.",
        )
    return None


def read_titles(path: Path, columns: str | None = None) -> dict[str, str]:
    """Titles by item id; a repeated id keeps its last title, and rows without id or title are left out.

    `columns` are words as of --columns, or the name of a TOML file. Raises NextclickError when the file
    cannot be read or lacks a column.
    """
    of_file = columns is not None and columns.endswith(".toml")
    try:
        found = catalogue_file(path, None if of_file else columns, Path(columns or "") if of_file else None)
    except NextclickError as error:
        # The columns of --columns are those of the log.
        remedy = error.remedy.replace("--columns", "--catalogue-columns")
        raise NextclickError(error.what, error.meaning, remedy) from None
    if TITLE not in found.mapping.columns:
        raise _unreadable(path, "it has no column title, by this or another usual name")
    kept = {name: found.mapping.columns[name] for name in (ITEM, TITLE)}
    evidence = {name: why for name, why in found.evidence.items() if name in kept}
    found = replace(found, mapping=replace(found.mapping, columns=kept), evidence=evidence, notes=[])
    found.show()
    rows = RowsRead()
    titles = {item: word.title for item, word in found.words(rows) if word.title}
    if unread := [why for reason, why in rows.first.items() if reason != "key"]:
        raise _unreadable(path, "; ".join(unread))
    return titles


def _unreadable(path: Path, why: str) -> NextclickError:
    return NextclickError(
        f"{path}: {why}",
        "It does not read as a catalogue; nothing was trained.",
        "Correct it, or say what is what: --catalogue-columns item=sku,title=name.",
    )
