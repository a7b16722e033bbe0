"""`nextclick recommend`: what a saved version lists after chosen items.

Tested by tests/learning/test_recommend_command.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from model.inspection.item_search import Item, ItemSearch
from model.inspection.item_search import recommend as recommend_items
from model.registry.registry import Registry
from model.stepping.stepper import Stepper
from replay.commands.catalogue_file import ItemColumns, ItemMappingFile, catalogue_file
from replay.commands.options import Json, RegistryDir
from replay.commands.ruled_list import catalogue_of, ruled_list
from replay.console import log, out
from stream.asking.query import MOST_LISTED
from stream.settings import load_settings


def recommend(
    more: Annotated[list[str] | None, typer.Argument(metavar="ITEM", help="the items, in order")] = None,
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--items",
            help="the same; an item is an id, a title or a part of a title; --items A B C is A, B, C",
        ),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="a version of the registry; default: the champion")
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=1000, help="length of the list")] = 20,
    user: Annotated[str | None, typer.Option(help="user id, for networks that read it")] = None,
    first: Annotated[
        bool, typer.Option("--first", help="when several items match, choose the most popular")
    ] = False,
    exclude_session_items: Annotated[
        bool | None,
        typer.Option(help="leave the chosen items out of the list; default: the version's setting"),
    ] = None,
    items_file: Annotated[
        Path | None,
        typer.Option(help="what the shop says of its items, a file as `nextclick items load` takes it"),
    ] = None,
    columns: ItemColumns = None,
    mapping: ItemMappingFile = None,
    rules: Annotated[Path | None, typer.Option(help="TOML file of what may be listed")] = None,
    placement: Annotated[str | None, typer.Option(help="a placement of the rules")] = None,
    registry: RegistryDir = None,
    as_json: Json = False,
) -> None:
    """Recommend the next items of a session of chosen items, by any saved version.

    With --items-file, --rules or --placement the list is the one that a worker would publish, or answer for
    the placement, after these items.
    """
    if items_file is None and (columns is not None or mapping is not None):
        raise typer.BadParameter("--columns and --log say what is what in --items-file")
    wanted = [*(items or []), *(more or [])]
    if len(items or []) > 1 and more:
        raise typer.BadParameter("the order is not clear: name all items behind one --items")
    if not wanted:
        raise typer.BadParameter('name at least one item, such as --items "white mug"')
    model = Registry(registry or load_settings().registry_dir).load(version)
    search = ItemSearch(model.vocabulary)
    chosen = [search.choose(text, first=first) for text in wanted]
    if user is not None and "user_id" not in model.network.columns:
        log.print(f"{model.config.network} reads no user; --user changes nothing", highlight=False)
    elif user is not None and user not in model.vocabulary.features.values.get("user_id", ()):
        log.print(f"user {escape(repr(user))} is not among the version's", highlight=False)
    if items_file is not None or rules is not None or placement is not None:
        if exclude_session_items is not None:
            raise typer.BadParameter("under rules, [session] seen says whether chosen items are left out")
        if k > MOST_LISTED:
            raise typer.BadParameter(f"a worker's list has at most {MOST_LISTED} items")
        settings = load_settings(registry_dir=registry)
        said = None if items_file is None else catalogue_file(items_file, columns, mapping)
        if said is not None:
            said.show()
        catalogue = catalogue_of(said, rules)
        ids = [item.item_id for item in chosen]
        answer = ruled_list(settings, catalogue, model.version, ids, user_id=user, k=k, placement=placement)
        rows = [
            {"rank": rank, "id": row["item_id"], "title": row["title"], "score": row["score"]}
            for rank, row in enumerate(answer["items"], 1)
        ]
        _show(model.version, chosen, rows, as_json, rules=answer["rules"])
        return
    stepper = Stepper(model, device="cpu", k=min(k, len(model.vocabulary)), wave_size=1, scoring="exact")
    listed = recommend_items(stepper, model, chosen, user_id=user, exclude_items=exclude_session_items)
    rows = [{"rank": one.rank, **_as_dict(one.item), "score": one.score} for one in listed]
    _show(model.version, chosen, rows, as_json)


def _show(
    version: str, chosen: list[Item], rows: list[dict[str, Any]], as_json: bool, **more: str | None
) -> None:
    if as_json:
        answer = {"version": version, "items": [_as_dict(item) for item in chosen], **more}
        print(json.dumps({**answer, "recommended": rows}, ensure_ascii=False))
        return
    for item in chosen:
        out.print(f"chosen: {item}", markup=False, highlight=False)
    table = Table("rank", "id", "title", "score")
    for row in rows:
        table.add_row(str(row["rank"]), escape(row["id"]), escape(row["title"] or ""), f"{row['score']:.4f}")
    out.print(table)


def _as_dict(item: Item) -> dict[str, Any]:
    return {"id": item.item_id, "title": item.title}
