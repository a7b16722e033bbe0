"""`nextclick tune`: the best settings of one network on a log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from model.config_files import (
    build_config,
    parse_settings,
    write_params,
)
from model.data.splits import LogSplit
from model.evaluation.rank_targets import rank_targets
from model.networks.by_name import columns_of
from model.training.job import TrainingJob
from model.training.train import RunOptions, train
from replay.commands.log_files import LogFiles
from replay.commands.named_log import FromTopic, LogPaths, named_log
from replay.commands.options import (
    Brokers,
    Category,
    Columns,
    Device,
    Format,
    GapS,
    Json,
    Kind,
    MappingFile,
    OnError,
    SetOptions,
    Test,
    TestFraction,
    TestFrom,
    Where,
    event_filter,
    learning_device,
)
from replay.commands.outputs import check_file
from replay.commands.read_split import SplitChoice, read_split
from replay.commands.training_output import training_bar
from replay.console import out, progress_bar


def tune(
    output: Annotated[Path, typer.Option(help="TOML file to write the settings to, for train --params")],
    files: LogPaths = None,
    from_topic: FromTopic = False,
    network: Annotated[str, typer.Option(help="name of the network")] = "gru4rec",
    trials: Annotated[int, typer.Option(min=1)] = 30,
    measure: Annotated[str, typer.Option(help="recall or mrr, at 20")] = "recall",
    validation_fraction: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="newest share of the training sessions, which decides")
    ] = 0.1,
    test: Test = None,
    test_fraction: TestFraction = 0.1,
    test_from: TestFrom = None,
    session_gap_s: GapS = None,
    set_: SetOptions = None,
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
    """Search a network's settings on the newest part of the training data; the test part only confirms."""
    # Imported here: optuna takes a second to load.
    from model.comparison.tune import SearchPlan
    from model.comparison.tune import tune as search

    if measure not in ("recall", "mrr"):
        raise typer.BadParameter(f"--measure is recall or mrr, not {measure!r}")
    check_file("--output", output, makes_folder=True)
    learning_on = learning_device(device)
    source = named_log(
        files, from_topic=from_topic, format=format, columns=columns, mapping=mapping,
        brokers=bootstrap_servers,
    )  # fmt: skip
    wanted = event_filter(kind, category, where=where)
    log_files = LogFiles(source.files, format, on_error, wanted, source.mapping, source.topic)
    given = {"network": network, **log_files.session_settings, **parse_settings(set_ or [])}
    if session_gap_s is not None:
        given["session_gap_s"] = session_gap_s
    base = build_config(given)
    choice = SplitChoice("temporal", test, test_fraction, test_from)
    earlier, later, vocabulary = read_split(log_files, choice, base.session_gap_s, columns=columns_of(base))
    # Before the search, which would be lost.
    TrainingJob(base, LogSplit(earlier, later, vocabulary)).check_targets()
    with progress_bar("searching") as bar:
        found = search(
            earlier,
            vocabulary,
            base,
            SearchPlan(trials, measure, validation_fraction, learning_on),  # type: ignore[arg-type]
            progress=lambda done, total, best: bar(done, total, f"best {measure}@20 {best:.4f}"),
        )
    with training_bar("training") as report:
        job = TrainingJob.of(found.config, LogSplit(earlier, later, vocabulary))
        parts = job.log
        result = train(
            parts.training, parts.vocabulary, found.config,
            validation=job.held_out, run=RunOptions(progress=report, device=learning_on),
        )  # fmt: skip
    scored = rank_targets(
        result.network.to(learning_on), job.tested, exclude_session_items=found.config.exclude_session_items
    ).evaluation()
    write_params(
        output,
        found.config,
        [
            f"Found by `nextclick tune` in {trials} trials ({found.given_up} given up early) on "
            f"{', '.join(source.names)},",
            f"by {measure}@20 of the newest {validation_fraction:.0%} of the training sessions: "
            f"Recall@20 {found.evaluation.recall:.4f}, MRR@20 {found.evaluation.mrr:.4f}.",
            f"Trained on all of them, on the test part: Recall@20 {scored.recall:.4f}, "
            f"MRR@20 {scored.mrr:.4f} of {scored.targets:,} next events.",
        ],
    )
    if as_json:
        config = found.config.model_dump(exclude_defaults=True)
        print(
            json.dumps({"config": config, "validation": found.evaluation.as_dict(), "test": scored.as_dict()})
        )
        return
    out.print(output.read_text(encoding="utf-8"), highlight=False, markup=False, end="")
