"""`nextclick reproduce`: the tables of a published study, made again on its data or on another log.

Tested by tests/learning/test_reproduce.py.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from model.config_files import parse_settings
from model.data.event_filter import ALL_EVENTS, EventFilter
from model.data.splits import HELD_OUT, LogSplit
from model.training.run_options import Progress
from replay.commands.log_files import LogFiles
from replay.commands.options import (
    Columns,
    Device,
    Format,
    Json,
    OnError,
    SetOptions,
    learning_device,
    log_mapping,
)
from replay.commands.outputs import check_file
from replay.commands.read_split import SplitChoice, read_split
from replay.console import log as stderr
from replay.console import progress_bar
from replay.datasets.event_files import EventFiles
from replay.deploy_files import deploy_folder
from replay.studies.report import as_dict, markdown
from replay.studies.run import LogFacts, chosen_rows, columns_needed, configs_of, run_study
from replay.studies.study import names, read_study


def reproduce(
    study: Annotated[str, typer.Argument(help=f"one of {', '.join(names())}")],
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--log",
            help="event file of the published data, or of any other log; may be repeated "
            "(default: the bundled Online Retail)",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="name of a row of the tables; may be repeated; default: all")
    ] = None,
    set_: SetOptions = None,
    output: Annotated[Path | None, typer.Option(help="also write OUTPUT.md and OUTPUT.json")] = None,
    format: Format = None,
    columns: Columns = None,
    on_error: OnError = "stop",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Make a published study's tables again: published figures beside ours, with intervals, times and losses.

    On the published data, known by format and size, with the published split and settings; on any other log
    with the same split, smaller settings where the study has them, and a note that figures do not compare.
    """
    found = read_study(study)
    rows = only or []
    chosen_rows(found, rows)
    learning_on = learning_device(device)
    written = (
        {ending: output.with_name(output.name + ending) for ending in (".md", ".json")} if output else {}
    )
    for path in written.values():
        check_file("--output", path, makes_folder=True)
    paths = files or [deploy_folder() / "data" / "online_retail.csv.xz"]
    named = log_mapping(columns, None)
    formats = set() if named else set(EventFiles(paths, format, on_error=on_error).open().formats.values())
    likely = found.likely_data(formats)
    wanted = ALL_EVENTS if likely is None else EventFilter(tuple(likely.kinds), tuple(likely.categories))
    recipe = found.split if likely is None or likely.split is None else likely.split
    choice = SplitChoice(
        recipe.choice,
        test_fraction=recipe.test_fraction,
        last_days=recipe.last_days,
        user_share=recipe.user_share,
    )
    given = parse_settings(set_ or [])
    log_files = LogFiles(paths, format, on_error, wanted, named)
    # Any settings name the same columns.
    split = read_split(log_files, choice, None, columns=columns_needed(found, given, rows))
    events = _events(split)
    published = found.data_of(formats, events)
    facts = LogFacts([path.name for path in paths], events, published)
    at_hand: dict[str, Any] = {} if published else found.at_hand
    count = sum(len(configs_of(table, given, rows)) for table in found.table)
    done = 0
    with progress_bar("reproducing") as bar:

        def report(name: str, p: Progress | None) -> None:
            nonlocal done
            done += p is None
            bar(done, count, f"{name}: {f'epoch {p.epoch}/{p.epochs}' if p else 'evaluating'}")

        result = run_study(
            found, split, facts, given, only=rows, at_hand=at_hand, device=learning_on, progress=report
        )
    if published is None:
        stderr.print("note: not the published data; its figures and ours do not compare", highlight=False)
    text = markdown(result, _command(study, paths, rows, set_ or []))
    data = json.dumps(as_dict(result))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        written[".md"].write_text(text, encoding="utf-8")
        written[".json"].write_text(data + "\n", encoding="utf-8")
    print(data if as_json else text)


def _events(split: LogSplit) -> int:
    """The number of events of the log: of a split by user the test part has the training events too."""
    training, test, _ = split
    more = len(test.items) if test.is_target is None else int((test.lengths // HELD_OUT).sum())
    return len(training.items) + more


def _command(study: str, paths: list[Path], only: list[str], set_: list[str]) -> str:
    options = [["--log", path.name] for path in paths]
    options += [["--only", name] for name in only] + [["--set", text] for text in set_]
    return shlex.join(["nextclick", "reproduce", study, *(part for option in options for part in option)])
