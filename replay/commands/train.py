"""The command train: a version from event files, and its quality on the newest part of them."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from model.config import ModelConfig
from model.config_files import build_config, parse_settings, read_params
from model.data.sessions import Sessions
from model.data.splits import validation_of
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import Evaluation, rank_targets
from model.networks.baselines.pop import Pop
from model.networks.by_name import NETWORKS, columns_of
from model.registry.registry import Registry
from model.training import train as training
from model.training.checkpoint import EVERY_BATCHES, CheckpointFile, fingerprint
from model.training.replicas import Replicas
from replay.commands.options import (
    Category,
    Files,
    Format,
    GapS,
    Items,
    Json,
    Kind,
    OnError,
    Params,
    RegistryDir,
    SetOptions,
    Test,
    TestFraction,
    TestFrom,
    check_items,
    event_filter,
)
from replay.commands.read_split import LogFiles, Split, SplitChoice, read_split
from replay.commands.titles_file import TitlesFile, titles_for
from replay.commands.training_output import sample, show, training_bar
from replay.console import log, out, progress_bar
from replay.datasets.event_filter import EventFilter
from stream.settings import load_settings

VALIDATION_TARGETS = 20_000


def setting(name: str, text: str) -> Any:
    """An option for a setting of the model; None stands for its default, which the help names."""
    return typer.Option(help=f"{text} (default: {ModelConfig.model_fields[name].default})")


def train(
    files: Files,
    test: Test = None,
    test_fraction: TestFraction = 0.1,
    test_from: TestFrom = None,
    split: Split = "temporal",
    items: Items = "known",
    registry: RegistryDir = None,
    params: Params = None,
    network: Annotated[str | None, setting("network", ", ".join(NETWORKS))] = None,
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
    promote: Annotated[bool, typer.Option(help="make the version the champion")] = True,
    unless_champion: Annotated[
        bool, typer.Option("--unless-champion", help="do nothing when the registry has one")
    ] = False,
    kind: Kind = None,
    category: Category = None,
    format: Format = None,
    on_error: OnError = "stop",
    as_json: Json = False,
) -> None:
    """Train a network on event files, evaluate it on the newest part, save it as a version.

    Under torchrun the processes share the sessions. An interrupted training goes on from its
    last checkpoint when the same command is given again.
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
    folder = Registry(registry or load_settings().registry_dir)
    if unless_champion and (champion := folder.champion()):
        log.print(f"{folder.root} has a champion, {champion}: nothing is trained", highlight=False)
        return
    earlier_model = folder.load(None if start == "champion" else start) if start else None
    inherited = earlier_model.config.model_dump() if earlier_model else {}
    config = build_config(
        {
            **inherited,
            **(read_params(params) if params else {}),
            **given,
            **parse_settings(set_ or []),
            **({"session_gap_s": 0} if users else {}),
        }
    )
    if leaky and config.dwell_threshold_s is None:
        raise typer.BadParameter("--leaky says how to evaluate with --dwell-threshold-s; give both")
    all_items, wanted = check_items(items), event_filter(kind, category)
    replicas = Replicas.join()
    with ExitStack() as stack:
        # After an error nobody waits for the others: torchrun ends them.
        stack.push(lambda kind, error, trace: None if kind else replicas.leave())
        mapped = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nextclick-sessions-")))
            if memory_map
            else None
        )
        earlier, later, vocabulary = read_split(
            LogFiles(files, format, on_error, wanted), choice, config.session_gap_s,
            columns=columns_of(config), titles=titles_for(config, catalogue), folder=mapped,
        )  # fmt: skip
        warm = None
        if earlier_model:
            warm = folder.warm_start(earlier_model)
            found = vocabulary.features
            vocabulary, renamed = vocabulary.grown_from(earlier_model.vocabulary)
            codes = vocabulary.features.renames_of(found)
            earlier, later = earlier.renamed(renamed, codes), later.renamed(renamed, codes)
        name = fingerprint(
            earlier,
            vocabulary,
            config,
            start=earlier_model.version if earlier_model else None,
            processes=replicas.count,
        )
        checkpoint = CheckpointFile(folder.root / f".training-{name}", name, checkpoint_every)
        if replicas.rank == 0 and checkpoint.path.exists():
            log.print(f"going on from the checkpoint {checkpoint.path}", highlight=False)
        with training_bar("training", quiet=replicas.rank > 0) as report:
            result = training.train(
                earlier,
                vocabulary,
                config,
                # What is to stop the training may not be what it is held to in the end.
                validation=sample(validation_of(later) if users else later, VALIDATION_TARGETS)
                if users or config.patience is None
                else None,
                start=warm,
                checkpoint=checkpoint if checkpoint_every else None,
                replicas=replicas,
                threads=threads,
                after_epoch=_tell if replicas.rank == 0 else lambda epoch, scored: None,
                progress=report,
            )
        if replicas.rank > 0:
            return
        _save(
            folder, result, config, vocabulary, earlier, later, [path.name for path in files],
            wanted, leaky=leaky, all_items=all_items, promote=promote, as_json=as_json,
        )  # fmt: skip
        checkpoint.remove()


def _tell(epoch: int, scored: Evaluation) -> None:
    loss = "" if scored.loss is None else f" loss {scored.loss:.3f}"
    measures = f"Recall@20 {scored.recall:.4f} MRR@20 {scored.mrr:.4f} accuracy {scored.accuracy:.4f}{loss}"
    log.print(f"epoch {epoch}: {measures} of {scored.targets:,} next events", highlight=False)


def _save(
    folder: Registry,
    result: training.TrainingResult,
    config: ModelConfig,
    vocabulary: Vocabulary,
    earlier: Sessions,
    later: Sessions,
    files: list[str],
    wanted: EventFilter,
    *,
    leaky: bool,
    all_items: bool,
    promote: bool,
    as_json: bool,
) -> None:
    """Evaluate what was trained beside POP, save it, show it."""
    # Imported here: matplotlib takes half a second that no other command should wait for.
    from model.comparison.plots import training_curves

    masked = config.exclude_session_items
    popularity_V = vocabulary.counts if all_items else None
    with progress_bar("evaluating") as bar:
        scored = rank_targets(
            result.network,
            later,
            exclude_session_items=masked,
            popularity_V=popularity_V,
            progress=lambda done, total: bar(done, total, "events"),
        ).evaluation()
    rows: dict[str, Evaluation] = {config.network: scored}
    if leaky:
        assert config.dwell_threshold_s is not None
        boosted = later.boosted(config.dwell_threshold_s)
        rows[f"{config.network}, LEAKY"] = rank_targets(result.network, boosted).evaluation()
    popular = rank_targets(
        Pop(vocabulary), later, exclude_session_items=masked, popularity_V=popularity_V
    ).evaluation()
    rows["POP"] = popular
    scores = {
        "evaluation": scored.as_dict(),
        "pop": popular.as_dict(),
        "losses": result.losses,
        "accuracies": result.accuracies,
        "validation": [v.as_dict() for v in result.validation],
        "events_per_s": round(result.events / result.seconds, 1),
    }
    if leaky:
        scores["leaky"] = rows[f"{config.network}, LEAKY"].as_dict()
    data = {
        "files": files,
        "events": len(earlier.items),
        "first_event_time_ms": int(earlier.times_ms.min()),
        "last_event_time_ms": int(earlier.times_ms.max()),
        **({"filter": wanted.as_dict()} if wanted else {}),
    }
    reports = (
        {"curves.png": training_curves(result.losses, result.validation, result.accuracies)}
        if result.losses
        else {}
    )
    model = folder.save(
        result.network, config, vocabulary, scores=scores, data=data,
        optimizer_state=result.optimizer_state or None, reports=reports,
    )  # fmt: skip
    if promote:
        folder.promote(model.version)
    if as_json:
        print(json.dumps({"version": model.version, "champion": promote, **scores}))
        return
    show(rows)
    if leaky:
        out.print(
            "LEAKY: the test targets are repeated by their own dwell too, so that an item often predicts "
            "itself. Published gains of dwell-time boosting come from there.",
            highlight=False,
        )
    unknown = "counted as missed" if all_items else "left out"
    out.print(
        f"version {model.version}{' (champion)' if promote else ''}: {len(vocabulary):,} items, "
        f"{scores['events_per_s']:,} training events/s; {scored.unknown:,} unknown test events {unknown}",
        highlight=False,
    )
    if reports:
        out.print(f"curves: {folder.root / model.version / 'curves.png'}", highlight=False)
