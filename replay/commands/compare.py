"""`nextclick compare`: several models on one log, in one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from model.config_files import (
    distinct,
    parse_models,
    parse_settings,
    read_variants,
)
from model.networks.by_name import columns_of
from model.training import train as training
from replay.commands.log_files import LogFiles
from replay.commands.named_log import FromTopic, LogPaths, named_log
from replay.commands.options import (
    Brokers,
    Category,
    Columns,
    Device,
    Format,
    GapS,
    Items,
    Json,
    Kind,
    MappingFile,
    OnError,
    SetOptions,
    Test,
    TestFraction,
    TestFrom,
    Where,
    check_items,
    event_filter,
    learning_device,
)
from replay.commands.outputs import check_file
from replay.commands.read_split import Split, SplitChoice, read_split
from replay.console import progress_bar

EVERY_KIND = "gru4rec pop s-pop window-pop transitions item-knn decayed-item-knn v-sknn bpr-mf sequential-mf"

ENDINGS = (".md", ".json", ".png")


def compare(
    files: LogPaths = None,
    from_topic: FromTopic = False,
    models: Annotated[
        str | None,
        typer.Option(
            help="separated by spaces: [label=]network or settings file[:name=value,…] "
            f"(default, without --variants: {EVERY_KIND})"
        ),
    ] = None,
    variants: Annotated[
        Path | None,
        typer.Option(help="file of named configurations, compared after --models; --set goes before them"),
    ] = None,
    only: Annotated[str, typer.Option(help="names of variants, separated by spaces; default: all")] = "",
    split: Split = "temporal",
    test: Test = None,
    test_fraction: TestFraction = 0.1,
    test_from: TestFrom = None,
    items: Items = "known",
    session_gap_s: GapS = None,
    set_: SetOptions = None,
    output: Annotated[
        Path | None, typer.Option(help="also write OUTPUT.md, OUTPUT.json and OUTPUT.png")
    ] = None,
    kind: Kind = None,
    category: Category = None,
    where: Where = None,
    format: Format = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    on_error: OnError = "stop",
    bootstrap_servers: Brokers = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Train and evaluate several models on the same log: one table, with intervals and paired differences."""
    from model.comparison.compare import compare as compare_models
    from model.comparison.plots import comparison_plot
    from model.comparison.table import markdown

    choice = SplitChoice(split, test, test_fraction, test_from)
    choice.check(session_gap_s)
    learning_on = learning_device(device)
    written = {ending: output.with_name(output.name + ending) for ending in ENDINGS} if output else {}
    for path in written.values():
        check_file("--output", path, makes_folder=True)
    source = named_log(
        files, from_topic=from_topic, format=format, columns=columns, mapping=mapping,
        brokers=bootstrap_servers,
    )  # fmt: skip
    wanted = event_filter(kind, category, where=where)
    log_files = LogFiles(source.files, format, on_error, wanted, source.mapping, source.topic)
    always = {"session_gap_s": 0.0} if choice.by_user else dict(log_files.session_settings)
    if session_gap_s is not None:
        always["session_gap_s"] = session_gap_s
    if only and not variants:
        raise typer.BadParameter("--only chooses among the variants of a file; give --variants")
    given = parse_settings(set_ or [])
    configs = {}
    if models is not None or variants is None:
        configs = parse_models((EVERY_KIND if models is None else models).split(), given, always)
    if variants:
        named = read_variants(variants, {**given, **always}, only.split())
        configs = distinct([*configs.items(), *named.items()])
    gaps = {config.session_gap_s for config in configs.values()}
    if len(gaps) > 1:
        raise typer.BadParameter(f"the models cut sessions differently ({gaps}); give --session-gap-s")
    all_items = check_items(items)
    log = read_split(log_files, choice, gaps.pop(), columns=columns_of(*configs.values()))
    done = 0
    with progress_bar("comparing") as bar:

        def report(name: str, p: training.Progress | None) -> None:
            nonlocal done
            done += p is None
            bar(done, len(configs), f"{name}: {f'epoch {p.epoch}/{p.epochs}' if p else 'evaluating'}")

        compared = compare_models(
            configs, log, all_items=all_items,
            split="given" if test else split, device=learning_on, progress=report,
        )  # fmt: skip
    text, data = markdown(compared), json.dumps(compared.as_dict())
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        written[".md"].write_text(text, encoding="utf-8")
        written[".json"].write_text(data + "\n", encoding="utf-8")
        written[".png"].write_bytes(comparison_plot(compared))
    print(data if as_json else text)
