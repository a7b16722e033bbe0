"""The commands compare and tune: several models on one log, and the best settings of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from model.config_files import (
    build_config,
    distinct,
    parse_models,
    parse_settings,
    read_variants,
    write_params,
)
from model.evaluation.rank_targets import rank_targets
from model.networks.by_name import columns_of
from model.training import train as training
from replay.commands.options import (
    Category,
    Files,
    Format,
    GapS,
    Items,
    Json,
    Kind,
    OnError,
    SetOptions,
    Test,
    TestFraction,
    TestFrom,
    check_items,
    event_filter,
)
from replay.commands.read_split import Split, check_split, read_split
from replay.commands.training_output import training_bar
from replay.console import out, progress_bar

EVERY_KIND = "gru4rec pop s-pop window-pop transitions item-knn decayed-item-knn v-sknn bpr-mf sequential-mf"


def compare(
    files: Files,
    models: Annotated[
        str | None,
        typer.Option(
            help="separated by blanks: [label=]network or settings file[:name=value,…] "
            f"(default, without --variants: {EVERY_KIND})"
        ),
    ] = None,
    variants: Annotated[
        Path | None,
        typer.Option(
            help="file of named configurations, all to be compared, behind --models; --set goes first"
        ),
    ] = None,
    only: Annotated[
        str, typer.Option(help="the names of some of the variants, separated by blanks; default: all")
    ] = "",
    split: Split = "temporal",
    test: Test = None,
    test_fraction: TestFraction = 0.1,
    test_from: TestFrom = None,
    items: Items = "known",
    session_gap_s: GapS = None,
    set_: SetOptions = None,
    output: Annotated[
        Path | None, typer.Option(help="write OUTPUT.md, OUTPUT.json and OUTPUT.png as well")
    ] = None,
    kind: Kind = None,
    category: Category = None,
    format: Format = None,
    on_error: OnError = "stop",
    as_json: Json = False,
) -> None:
    """Train and evaluate several models on the same log: one table, with intervals and paired differences."""
    from model.comparison.compare import compare as compare_models
    from model.comparison.compare import markdown
    from model.comparison.plots import comparison_plot

    users = check_split(split, gap_s=session_gap_s, elsewhere=bool(test or test_from))
    always = {"session_gap_s": 0.0} if users else {}
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
    earlier, later, vocabulary = read_split(
        split, files, test, gaps.pop(), test_fraction=test_fraction, test_from=test_from,
        format=format, on_error=on_error, wanted=event_filter(kind, category),
        columns=columns_of(*configs.values()),
    )  # fmt: skip
    done = 0
    with progress_bar("comparing") as bar:

        def report(name: str, p: training.Progress | None) -> None:
            nonlocal done
            done += p is None
            bar(done, len(configs), f"{name}: {f'epoch {p.epoch}/{p.epochs}' if p else 'evaluating'}")

        compared = compare_models(
            configs, earlier, later, vocabulary, all_items=check_items(items),
            split="given" if test else split, progress=report,
        )  # fmt: skip
    text, data = markdown(compared), json.dumps(compared.as_dict())
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_name(f"{output.name}.md").write_text(text)
        output.with_name(f"{output.name}.json").write_text(data + "\n")
        output.with_name(f"{output.name}.png").write_bytes(comparison_plot(compared))
    print(data if as_json else text)


def tune(
    files: Files,
    output: Annotated[Path, typer.Option(help="the TOML file of what was found, for train --params")],
    network: Annotated[str, typer.Option(help="the network's name")] = "gru4rec",
    trials: Annotated[int, typer.Option(min=1)] = 30,
    measure: Annotated[str, typer.Option(help="recall or mrr, at 20")] = "recall",
    validation_fraction: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="newest share of the training sessions that decides")
    ] = 0.1,
    test: Test = None,
    test_fraction: TestFraction = 0.1,
    test_from: TestFrom = None,
    session_gap_s: GapS = None,
    set_: SetOptions = None,
    kind: Kind = None,
    category: Category = None,
    format: Format = None,
    on_error: OnError = "stop",
    as_json: Json = False,
) -> None:
    """Search a network's settings on the newest part of the training data; the test part only confirms."""
    # Imported here: optuna takes a second that no other command should wait for.
    from model.comparison.tune import tune as search

    if measure not in ("recall", "mrr"):
        raise typer.BadParameter(f"--measure is recall or mrr, not {measure!r}")
    given = {"network": network, **parse_settings(set_ or [])}
    if session_gap_s is not None:
        given["session_gap_s"] = session_gap_s
    base = build_config(given)
    earlier, later, vocabulary = read_split(
        "temporal", files, test, base.session_gap_s, test_fraction=test_fraction, test_from=test_from,
        format=format, on_error=on_error, wanted=event_filter(kind, category),
        columns=columns_of(base),
    )  # fmt: skip
    with progress_bar("searching") as bar:
        found = search(
            earlier,
            vocabulary,
            base,
            trials=trials,
            measure=measure,  # type: ignore[arg-type]
            validation_fraction=validation_fraction,
            progress=lambda done, total, best: bar(done, total, f"best {measure}@20 {best:.4f}"),
        )
    with training_bar("training") as report:
        result = training.train(earlier, vocabulary, found.config, progress=report)
    scored = rank_targets(
        result.network, later, exclude_session_items=found.config.exclude_session_items
    ).evaluation()
    write_params(
        output,
        found.config,
        [
            f"Found by `nextclick tune` in {trials} trials ({found.given_up} given up early) on "
            f"{', '.join(path.name for path in files)},",
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
    out.print(output.read_text(), highlight=False, markup=False, end="")
