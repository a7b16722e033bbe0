"""Options that several commands share, with one spelling and one meaning.

Tested by tests/unit/replay/commands/test_filtered_commands.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.data.event_filter import EventFilter
from model.errors import NextclickError
from replay.console import log
from replay.datasets.detection import NAMED, known_format
from replay.datasets.event_files import EventFiles
from replay.reading.account import skipped_share
from stream.log_mapping import RECORDED_AS, LogMapping, mapping_of, parse_mapping, read_mapping
from stream.settings import load_settings

if TYPE_CHECKING:
    import torch

FILTERED_KINDS = ("view", "cart", "purchase")
EVERYTHING = "all"

Test = Annotated[list[Path] | None, typer.Option(help="evaluate on these files, train on all of FILES")]
TestFraction = Annotated[
    float, typer.Option(min=0.001, max=0.9, help="newest share of the events, kept for the evaluation")
]
TestFrom = Annotated[str | None, typer.Option(help="evaluate from this UTC time on, instead of a share")]
Items = Annotated[
    str,
    typer.Option(help="known: leave out test events of items unseen in training; all: count them as misses"),
]
SetOptions = Annotated[
    list[str] | None, typer.Option("--set", help="a setting of the model, name=value; may be repeated")
]
Params = Annotated[Path | None, typer.Option(help="TOML file of model settings, see deploy/params")]
Format = Annotated[
    str | None,
    typer.Option(help=f"one of {', '.join(NAMED)}; default: recognised by content"),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="what is what in any other file: session=sid,item=sku,time=at and kind, user, price…; by name, "
        "number from 1 or path (events[].aid); kind=type:pv=view,3=purchase; time=at:ms@Europe/Berlin"
    ),
]
MappingFile = Annotated[
    Path | None, typer.Option("--log", help="the same from a TOML file that travels with the log, mylog.toml")
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        help="only events of this kind: view, cart or purchase; may be repeated; all: of every kind "
        "(default: what the model was trained on that the command goes on from, else all)"
    ),
]
Category = Annotated[
    list[str] | None,
    typer.Option(
        help="only items of this category and its subcategories, such as electronics; repeatable; all: of "
        "every category (default: as of --kind)"
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        help="only events of which this holds: brand=apple|samsung, price=10..50, user=…, title=…; "
        "repeatable; all: no condition (default: as of --kind)"
    ),
]
OnError = Annotated[
    str,
    typer.Option(help="at a line that cannot be read: stop or skip; skip=0.9: up to this share, not half"),
]
Brokers = Annotated[str | None, typer.Option("--bootstrap-servers", help="Kafka, host:port")]
Device = Annotated[
    str | None,
    typer.Option(help="where networks learn and are evaluated: auto, cpu, cuda or cuda:N; NEXTCLICK_DEVICE"),
]
RegistryDir = Annotated[Path | None, typer.Option("--registry", help="folder of the model versions")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
GapS = Annotated[
    float | None,
    typer.Option(
        help="silence that ends a session, in seconds; 0: sessions as logged, which are whole users in "
        "amazon, movielens and lastfm-1k"
    ),
]


def check_items(items: str) -> bool:
    """Whether --items is "all", so that events of unknown items count. Raises typer.BadParameter."""
    if items not in ("known", "all"):
        raise typer.BadParameter(f"--items is known or all, not {items!r}")
    return items == "all"


def event_filter(
    kind: list[str] | None,
    category: list[str] | None,
    recorded: EventFilter | None = None,
    *,
    where: list[str] | None = None,
) -> EventFilter:
    """The filter that --kind, --category and --where describe; what is not given is as `recorded`.

    Raises typer.BadParameter.

    >>> str(event_filter(["view"], None)), str(event_filter(None, None, EventFilter(kinds=("purchase",))))
    ('of kind view', 'of kind purchase')
    """
    for one in kind or []:
        if one not in (*FILTERED_KINDS, EVERYTHING):
            raise typer.BadParameter(f"--kind is one of {', '.join(FILTERED_KINDS)}, not {one!r}")
    if not all(one.strip() for one in category or []):
        raise typer.BadParameter("--category names nothing")
    recorded = recorded or EventFilter()
    kinds = recorded.kinds if kind is None else () if EVERYTHING in kind else tuple(kind)
    named = None if category is None else tuple(one.strip() for one in category)
    categories = recorded.categories if named is None else () if EVERYTHING in named else named
    holding = None if where is None else tuple(one.strip() for one in where)
    conditions = recorded.conditions if holding is None else () if EVERYTHING in holding else holding
    try:
        return EventFilter(kinds, categories, conditions)
    except ValueError as error:
        raise typer.BadParameter(
            f"--where is brand=…, price=LEAST..MOST, title=… or user=…, not {str(error)!r}"
        ) from None


def describe_filter(recorded: EventFilter | None) -> str:
    """What a model was trained on, in words.

    >>> describe_filter(EventFilter()), describe_filter(None)
    ('events of all kinds', 'events of kinds that its manifest does not record')
    """
    if recorded is None:
        return "events of kinds that its manifest does not record"
    return f"events {recorded or 'of all kinds'}"


def log_mapping(columns: str | None, mapping: Path | None) -> LogMapping | None:
    """What --columns or --log says of the log; None without either.

    Raises typer.BadParameter for both, NextclickError for one that is wrong.

    >>> log_mapping("session=sid,item=sku,time=at", None).column("item")
    'sku'
    """
    if columns is not None and mapping is not None:
        raise typer.BadParameter("--columns and --log are two ways to say the same; give one")
    if mapping is not None:
        return read_mapping(mapping)
    return None if columns is None else parse_mapping(columns)


def inherited_mapping(
    data: Mapping[str, Any], version: str, files: Sequence[Path], format: str | None
) -> LogMapping | None:
    """The mapping of the log that a version learned from, where the files have its columns; else None.

    `data` are those of the version's manifest. A file of a known layout is not read by column numbers,
    which nearly every table has.
    """
    recorded = data.get(RECORDED_AS)
    if format is not None or not files or not isinstance(recorded, Mapping):
        return None
    try:
        mapping = mapping_of(recorded)
        EventFiles(files, columns=mapping).open()
        by_number = any(isinstance(column, int) for column in mapping.columns.values())
        if by_number and any(known_format(path) for path in files):
            return None
    except NextclickError:
        # The files say for themselves what they are, or an error says what to do.
        return None
    log.print(f"read by the mapping that {version} was trained with", highlight=False)
    return mapping


def check_on_error(on_error: str) -> str:
    """ "stop", "skip" or "skip=SHARE". Raises typer.BadParameter on anything else.

    >>> check_on_error("skip")
    'skip'
    """
    if not is_on_error(on_error) or on_error.startswith("dlq"):
        raise typer.BadParameter(f"--on-error is stop or skip, not {on_error!r}")
    return on_error


def is_on_error(on_error: str) -> bool:
    """Whether a text says what a line that cannot be read does: stop, skip or dlq, with a share or not.

    >>> is_on_error("skip=0.9"), is_on_error("skip=many")
    (True, False)
    """
    try:
        skipped_share(on_error)
    except ValueError:
        return False
    return True


def learning_device(device: str | None) -> torch.device:
    """The device that --device or NEXTCLICK_DEVICE names. Raises NextclickError when it is not there."""
    # Imported here: most commands need no torch.
    from model.device import choose_device

    return choose_device(load_settings(device=device).device)
