"""The command train: a version from a log, and its quality on the newest part of them."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from model.config import DEFAULT_NETWORK, ModelConfig
from model.config_files import build_config, parse_settings, read_params
from model.data.event_filter import RECORDED_AS, EventFilter
from model.networks.by_name import NETWORKS, columns_of
from model.registry.registry import Registry
from model.training.checkpoint import EVERY_BATCHES
from model.training.job import TrainingJob, data_facts
from model.training.replicas import Replicas
from model.training.run_options import RunOptions
from replay.commands.log_files import LogFiles
from replay.commands.named_log import FromTopic, LogPaths, NewestEvents, named_log
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
    Params,
    RegistryDir,
    SetOptions,
    Test,
    TestFraction,
    TestFrom,
    Where,
    check_items,
    describe_filter,
    event_filter,
    inherited_mapping,
    learning_device,
)
from replay.commands.outputs import check_folder
from replay.commands.read_split import Split, SplitChoice, read_split
from replay.commands.titles_file import TitlesColumns, TitlesFile, titles_for
from replay.commands.training_output import curves_of, print_epoch, show_ranker, show_scores, training_bar
from replay.console import log, out, progress_bar
from stream.log_mapping import RECORDED_AS as MAPPING_RECORDED_AS
from stream.settings import load_settings


def setting(name: str, text: str) -> Any:
    """An option for a setting of the model; None stands for its default, which the help names."""
    return typer.Option(help=f"{text} (default: {ModelConfig.model_fields[name].default})")


def train(
    files: LogPaths = None,
    from_topic: FromTopic = False,
    newest_events: NewestEvents = None,
    test: Test = None,
    test_fraction: TestFraction = 0.1,
    test_from: TestFrom = None,
    split: Split = "temporal",
    items: Items = "known",
    registry: RegistryDir = None,
    params: Params = None,
    network: Annotated[
        str | None, typer.Option(help=f"{', '.join(NETWORKS)} (default: {DEFAULT_NETWORK})")
    ] = None,
    loss: Annotated[
        str | None, setting("loss", "cross-entropy, full-cross-entropy, bpr(-max), top1(-max), mse, cosine")
    ] = None,
    epochs: Annotated[int | None, setting("epochs", "passes over the training sessions")] = None,
    hidden_size: Annotated[int | None, setting("hidden_size", "units of each layer, or factors")] = None,
    layers: Annotated[int | None, setting("layers", "recurrent layers")] = None,
    embedding: Annotated[str | None, setting("embedding", "tied, separate or one-hot")] = None,
    batch_size: Annotated[int | None, setting("batch_size", "sessions side by side")] = None,
    negatives: Annotated[int | None, setting("negatives", "extra negatives, shared by a batch")] = None,
    alpha: Annotated[
        float | None, setting("alpha", "negatives are drawn by popularity to the power of this")
    ] = None,
    logq: Annotated[float | None, setting("logq", "share of the logQ correction of cross-entropy")] = None,
    optimizer: Annotated[str | None, setting("optimizer", "adagrad, adam or momentum")] = None,
    learning_rate: Annotated[float | None, setting("learning_rate", "of the optimizer")] = None,
    momentum: Annotated[float | None, setting("momentum", "of adagrad and momentum")] = None,
    dropout: Annotated[float | None, typer.Option(help="on embedding and hidden state")] = None,
    dwell_threshold_s: Annotated[
        float | None, typer.Option(help="training repeats an item once for each full threshold of dwell")
    ] = None,
    leaky: Annotated[
        bool, typer.Option(help="also evaluate with repeated test targets, as published: it leaks them")
    ] = False,
    seed: Annotated[int | None, setting("seed", "of all chance")] = None,
    session_gap_s: GapS = None,
    exclude_session_items: Annotated[
        bool | None, typer.Option(help="keep a session's own items out of its lists")
    ] = None,
    set_: SetOptions = None,
    start: Annotated[
        str | None, typer.Option(help="go on from this version, or from the champion: a warm start")
    ] = None,
    checkpoint_every: Annotated[
        int, typer.Option(min=0, help="batches between checkpoints; 0: none are kept")
    ] = EVERY_BATCHES,
    threads: Annotated[int, typer.Option(min=1, help="more are faster only where nothing else is busy")] = 1,
    memory_map: Annotated[
        bool, typer.Option(help="by way of arrays on disk, for logs larger than memory")
    ] = False,
    catalogue: TitlesFile = None,
    catalogue_columns: TitlesColumns = None,
    promote: Annotated[bool, typer.Option(help="make the version the champion")] = True,
    unless_champion: Annotated[
        bool, typer.Option("--unless-champion", help="do nothing when the registry has one")
    ] = False,
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
    """Train a network on a log, evaluate it on the newest part, save it as a version.

    Under torchrun the processes share the sessions, and the partitions of a topic or an archive.
    An interrupted training goes on from its last checkpoint when the same command is given again.
    """
    flags = {
        "network": network, "loss": loss, "epochs": epochs, "hidden_size": hidden_size, "layers": layers,
        "embedding": embedding, "batch_size": batch_size, "negatives": negatives,
        "alpha": alpha, "logq": logq,
        "optimizer": optimizer, "learning_rate": learning_rate, "momentum": momentum,
        "dropout_embedding": dropout, "dropout_hidden": dropout, "dwell_threshold_s": dwell_threshold_s,
        "seed": seed, "session_gap_s": session_gap_s, "exclude_session_items": exclude_session_items,
    }  # fmt: skip
    given = {name: value for name, value in flags.items() if value is not None}
    choice = SplitChoice(split, test, test_fraction, test_from)
    choice.check(session_gap_s, memory_map=memory_map)
    users = choice.by_user
    settings = load_settings()
    folder = Registry(registry or settings.registry_dir)
    if unless_champion and (champion := folder.champion()):
        log.print(f"{folder.root} has a champion, {champion}: nothing is trained", highlight=False)
        return
    earlier_model = folder.load(None if start == "champion" else start) if start else None
    inherited = earlier_model.config.model_dump() if earlier_model else {}
    earlier_filter = EventFilter.recorded(earlier_model.manifest["data"]) if earlier_model else None
    all_items, wanted = check_items(items), event_filter(kind, category, earlier_filter, where=where)
    check_folder("--registry", folder.root)
    source = named_log(
        files, from_topic=from_topic, format=format, columns=columns, mapping=mapping,
        brokers=bootstrap_servers, newest=newest_events,
    )  # fmt: skip
    named = source.mapping
    if named is None and earlier_model:
        named = inherited_mapping(earlier_model.manifest["data"], earlier_model.version, source.files, format)
    learning_on = learning_device(device)
    replicas = Replicas.join(learning_on)
    log_files = LogFiles(source.files, format, on_error, wanted, named, source.topic, replicas)
    config = build_config(
        {
            "network": DEFAULT_NETWORK,
            **inherited,
            **log_files.session_settings,
            **(read_params(params) if params else {}),
            **given,
            **parse_settings(set_ or []),
            **({"session_gap_s": 0} if users else {}),
        }
    )
    if leaky and config.dwell_threshold_s is None:
        raise typer.BadParameter("--leaky says how to evaluate with --dwell-threshold-s; give both")
    if earlier_model and earlier_filter != wanted:
        log.print(
            f"{earlier_model.version} was trained on {describe_filter(earlier_filter)}, "
            f"it goes on with events {wanted or 'of all kinds'}",
            highlight=False,
        )
    with ExitStack() as stack:
        # After an error nobody waits for the others: torchrun ends them.
        stack.push(lambda kind, error, trace: None if kind else replicas.leave())
        mapped = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nextclick-sessions-")))
            if memory_map
            else None
        )
        log_split = read_split(
            log_files, choice, config.session_gap_s,
            columns=columns_of(config), folder=mapped,
            titles=titles_for(config, catalogue, catalogue_columns),
        )  # fmt: skip
        job = TrainingJob.of(config, log_split)
        if earlier_model:
            job = job.going_on_from(earlier_model, folder.warm_start(earlier_model))
        job.check_targets()
        checkpoint = job.checkpoint(folder.root, checkpoint_every, replicas.count)
        is_first = replicas.rank == 0
        if is_first and checkpoint.path.exists():
            log.print(f"going on from the checkpoint {checkpoint.path}", highlight=False)
        with training_bar("training", quiet=not is_first) as report:
            trained = job.train(
                RunOptions(
                    checkpoint if checkpoint_every else None,
                    replicas,
                    threads,
                    print_epoch if is_first else lambda epoch, scored: None,
                    report,
                    learning_on,
                )
            )
        if not is_first:
            return
        with progress_bar("evaluating") as bar:
            scored = job.evaluate(
                trained,
                all_items=all_items,
                leaky=leaky,
                device=learning_on,
                progress=lambda done, total: bar(done, total, "events"),
            )
        facts = data_facts(log_split.training, earlier_model.manifest["data"] if earlier_model else {})
        data = {
            "files": [path.name for path in source.files],
            **facts,
            **log_files.learned_facts(facts["last_event_time_ms"]),
            RECORDED_AS: wanted.as_dict(),
            **({} if named is None else {MAPPING_RECORDED_AS: named.as_dict()}),
            "split": split,
        }
        reports = curves_of(trained)
        scores = scored.as_dict(trained)
        version = folder.save(trained, scores=scores, data=data, reports=reports).version
        if promote and settings.gate_over(folder.champion()) != "none":
            promote = False
            log.print(
                f"{version} is saved and not champion: a promotion waits for an experiment.\n"
                f"do: `nextclick experiment start {version}`; `nextclick promote` says what it waits for",
                highlight=False,
                markup=False,
            )
        if promote:
            folder.promote(version)
        checkpoint.remove()
    if as_json:
        print(json.dumps({"version": version, "champion": promote, **scores}))
        return
    show_scores(config.network, scored)
    show_ranker(trained)
    unknown = "counted as missed" if all_items else "left out"
    out.print(
        f"version {version}{' (champion)' if promote else ''}: {len(trained.vocabulary):,} items, "
        f"{trained.events_per_s:,.0f} training events/s; {scored.model.unknown:,} unknown test events "
        f"{unknown}",
        highlight=False,
    )
    if reports:
        out.print(f"curves: {folder.root / version / 'curves.png'}", highlight=False)
