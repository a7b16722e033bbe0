"""`nextclick items`: what the shop says of its items, written to the topic and read from it.

Tested by tests/integration/test_items.py and tests/unit/replay/commands/test_catalogue_file.py.
"""

from __future__ import annotations

import json
import shlex
import time
from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from model.errors import NextclickError
from replay.commands.catalogue_file import CatalogueFile, ItemColumns, ItemMappingFile, catalogue_file
from replay.commands.options import Brokers, Json
from replay.commands.outputs import check_file
from replay.console import log, out
from replay.item_files.item_rows import RowsRead
from replay.item_files.item_values import moment_of
from stream.catalogue.item_word import ItemWord, RejectedWord, decode_word, encode_word
from stream.catalogue.items_topic import check_items_topic, send_words, word_about
from stream.catalogue.rules import read_rules
from stream.settings import load_settings

items = typer.Typer(
    help="Say what is to be known of items: what is sold out, what it costs, where it belongs.",
    epilog="Example: nextclick items set sku-1042 --unavailable",
    no_args_is_help=True,
)
ItemFile = Annotated[
    Path,
    typer.Argument(help="a table of items: CSV of any delimiter, JSON, Parquet, Arrow or ORC, packed or not"),
]
WORDS_SHOWN = 5
ItemId = Annotated[str, typer.Argument(metavar="ID", help="the item's id, as events have it")]


@items.command(epilog="Example: nextclick items load catalogue.csv --columns item=sku,title=name")
def load(
    file: ItemFile,
    columns: ItemColumns = None,
    mapping: ItemMappingFile = None,
    on_error: Annotated[
        str, typer.Option(help="at rows that are no word about an item: stop before any is sent, or skip")
    ] = "stop",
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Send what a table says of its items; returns when the brokers have acknowledged all of it."""
    if on_error not in ("stop", "skip"):
        raise typer.BadParameter(f"--on-error is stop or skip, not {on_error!r}")
    catalogue = catalogue_file(file, columns, mapping)
    catalogue.show()
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    check_items_topic(settings)
    if on_error == "stop":
        _check_rows(file, catalogue)
    rows = RowsRead()
    sent = send_words(settings, catalogue.words(rows))
    if as_json:
        print(json.dumps({"sent": sent, "left_out": rows.left_out}))
        return
    out.print(f"{sent:,} items said and acknowledged on {settings.items_topic}", highlight=False)
    for reason, count in rows.left_out.items():
        log.print(f"left out: {count:,} by {reason}, {rows.first[reason]}", highlight=False, markup=False)


def _check_rows(file: Path, catalogue: CatalogueFile) -> None:
    """Read the whole file before anything is sent. Raises NextclickError when a row is no word."""
    rows = RowsRead()
    for _ in catalogue.words(rows):
        pass
    if rows.left_out:
        total = sum(rows.left_out.values())
        raise NextclickError(
            f"{file} has {total:,} rows that say nothing of an item: " + "; ".join(rows.first.values()),
            f"The other {rows.words:,} rows are good. Nothing was sent.",
            "Correct them, name the columns by --columns, or leave them out with --on-error skip.",
        )


@items.command(epilog="Example: nextclick items guess catalogue.csv --output items.toml")
def guess(
    file: ItemFile,
    columns: ItemColumns = None,
    output: Annotated[Path, typer.Option(help="TOML file to write the mapping to")] = Path("items.toml"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="also where that file is there")] = False,
    as_json: Json = False,
) -> None:
    """Guess what is what in a file of items, show why, and the first words; write it to a file for --log.

    Looks at rows spread over the file, and sends nothing. What is not sure is refused with the candidates.
    """
    if output.exists() and not overwrite:
        raise NextclickError(
            f"{output} is there already",
            "It may say more than a guess: nothing was read, and it is as it was.",
            "Name another --output, or have it written anew with --overwrite.",
        )
    check_file("--output", output)
    catalogue = catalogue_file(file, columns)
    rows = RowsRead()
    first = list(islice(catalogue.words(rows), WORDS_SHOWN))
    if not first:
        raise NextclickError(
            f"{file}: no row says anything of an item",
            f"Left out: {'; '.join(rows.first.values()) or 'nothing, it has no rows'}.",
            "Correct the rows, or name its own columns with --columns.",
        )
    about = "".join(f"# {name}: {why}\n" for name, why in catalogue.evidence.items())
    begin = f"# What is what in {file.name}, as guessed; change what is wrong.\n{about}"
    output.write_text(begin + catalogue.mapping.as_toml(), encoding="utf-8")
    following = f"nextclick items load {shlex.quote(str(file))} --log {shlex.quote(str(output))}"
    if as_json:
        told = {
            "evidence": catalogue.evidence,
            "notes": catalogue.notes,
            "mapping": catalogue.mapping.as_dict(),
        }
        words = [{"item": item_id, "word": msgspec.to_builtins(word)} for item_id, word in first]
        print(json.dumps({**told, "words": words, "left_out": rows.left_out, "next": following}))
        return
    catalogue.show()
    for item_id, word in first:
        _print(item_id, word)
    left = "; ".join(
        f"{count:,} by {reason}, {rows.first[reason]}" for reason, count in rows.left_out.items()
    )
    out.print(f"left out before these: {left or 'nothing'}", markup=False, highlight=False)
    out.print(f"written: {output}\nnext: {following}", markup=False, highlight=False)


@items.command(epilog="Example: nextclick items show sku-1042 --json")
def show(item_id: ItemId, bootstrap_servers: Brokers = None, as_json: Json = False) -> None:
    """Show what was last said of an item. Exit: 0 where something was, else 1."""
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    word = word_about(settings, item_id)
    if as_json:
        print(json.dumps({"item": item_id, "word": None if word is None else msgspec.to_builtins(word)}))
    elif word is None:
        out.print(f"nothing is said of {item_id}: it may be listed", highlight=False, markup=False)
    else:
        _print(item_id, word)
    raise typer.Exit(0 if word is not None else 1)


@items.command("set", epilog="Example: nextclick items set sku-1042 --unavailable")
def set_(
    item_id: ItemId,
    available: Annotated[
        bool | None, typer.Option("--available/--unavailable", help="whether lists may have it")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="what it costs")] = None,
    title: Annotated[str | None, typer.Option(help="what it is called")] = None,
    brand: Annotated[str | None, typer.Option(help="who makes it")] = None,
    category: Annotated[str | None, typer.Option(help="its path from the root, home/kitchen/mugs")] = None,
    available_from: Annotated[
        str | None, typer.Option(help="when it begins to be available: ISO time or epoch milliseconds")
    ] = None,
    available_until: Annotated[str | None, typer.Option(help="when it ends")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="take back all that was said of it")] = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Change what is said of an item; what is not named stays. Returns when it is acknowledged."""
    named = {
        "available": available, "price": price, "title": title, "brand": brand, "category": category,
        "available_from_ms": _moment("--available-from", available_from),
        "available_until_ms": _moment("--available-until", available_until),
    }  # fmt: skip
    changes = {name: value for name, value in named.items() if value is not None}
    if bool(changes) == forget:
        raise typer.BadParameter("say what is to change, such as --unavailable, or --forget alone")
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    word = None
    if not forget:
        before = word_about(settings, item_id) or ItemWord()
        word = msgspec.structs.replace(before, **changes)
    try:
        decode_word(item_id.encode(), None if word is None else encode_word(word))
    except RejectedWord as rejected:
        raise typer.BadParameter(str(rejected)) from None
    send_words(settings, [(item_id, word)])
    if word is None:
        out.print(f"nothing is said of {item_id} any more: acknowledged", highlight=False, markup=False)
    else:
        _print(item_id, word)


@items.command(epilog="Example: nextclick items rules rules.toml")
def rules(
    file: Annotated[Path, typer.Argument(help="a TOML file of rules, as the setting `rules` names one")],
) -> None:
    """Check a file of rules before workers follow it: names every problem, or its version."""
    found = read_rules(file)
    out.print(f"{file}: version {found.version}, can be followed", highlight=False, markup=False)
    for name, value in found.model_dump(exclude_defaults=True, exclude={"version"}).items():
        out.print(f"  {name}: {value}", highlight=False, markup=False)


def _moment(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else moment_of(text)
    except RejectedWord as rejected:
        raise typer.BadParameter(f"{option}: {rejected}") from None


def _print(item_id: str, word: ItemWord) -> None:
    now_ms = time.time() * 1000
    begun = word.available_from_ms is None or word.available_from_ms <= now_ms
    over = word.available_until_ms is not None and word.available_until_ms <= now_ms
    state = "may be listed now" if word.available and begun and not over else "may not be listed now"
    out.print(f"{item_id}: {state}", highlight=False, markup=False)
    for name, value in msgspec.to_builtins(word).items():
        out.print(f"  {name}: {value}", highlight=False, markup=False)
