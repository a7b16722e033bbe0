"""The file of a catalogue as commands read it: what is what in it, said or guessed, and its words.

Tested by tests/unit/replay/commands/test_catalogue_file.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from replay.console import log
from replay.item_files.item_guess import guess_items
from replay.item_files.item_mapping import ItemMapping, parse_item_columns, read_item_mapping
from replay.item_files.item_rows import RowsRead, read_words
from replay.reading.packed_files import members
from replay.reading.spool import spooled
from stream.catalogue.item_word import ItemWord

ItemColumns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="what is what: item=sku,title=name,brand=…,category,price,available=stock:gone=no,"
        "available_from=at:s,available_until,image,url,attributes.colour=…; by name, number from 1 or path; "
        "what is not said is guessed by names, and shown",
    ),
]
ItemMappingFile = Annotated[
    Path | None, typer.Option("--log", help="the same from a TOML file, as `nextclick items guess` writes it")
]


@dataclass(frozen=True)
class CatalogueFile:
    """The files of a catalogue, what is what in them, and why it is believed to be."""

    paths: tuple[Path, ...]
    mapping: ItemMapping
    evidence: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def words(self, rows: RowsRead) -> Iterator[tuple[str, ItemWord]]:
        """The words about items in the order of the files; adds to `rows` what is read and left out.

        Raises NextclickError when a file cannot be read to its end, or lacks a column.
        """
        for path in self.paths:
            yield from read_words(path, self.mapping, rows)

    def show(self) -> None:
        """Print what was found for each field, and why, to stderr."""
        for name, why in self.evidence.items():
            log.print(f"{name}: {why}", markup=False, highlight=False)
        for note in self.notes:
            log.print(f"note: {note}", markup=False, highlight=False)


def catalogue_file(path: Path, columns: str | None = None, mapping: Path | None = None) -> CatalogueFile:
    """The catalogue in a file, a pipe, an archive or a folder of parts.

    What `columns` does not say is guessed by the first file; `mapping`, a TOML file, says everything.
    Raises typer.BadParameter for both, NextclickError for a file that is none, or is not sure.
    """
    if columns is not None and mapping is not None:
        raise typer.BadParameter("--columns and --log are two ways to say the same; give one")
    if mapping is not None:
        said = read_item_mapping(mapping)
        return CatalogueFile(tuple(members(spooled(path))), said)
    said = parse_item_columns(columns or "")
    paths = tuple(members(spooled(path)))
    guess = guess_items(paths[0], said)
    return CatalogueFile(paths, guess.mapping, guess.evidence, guess.notes)
