"""The command line of nextclick: composes model, stream and replay; nothing imports it."""

from __future__ import annotations

import json
import logging
import runpy
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model import train as training
from model.baselines.pop import Pop
from model.config import ModelConfig
from model.errors import NextclickError
from model.evaluate import evaluate as evaluate_network
from model.registry import Registry
from model.sessions import SessionRule, Sessions, temporal_split
from model.vocabulary import Vocabulary
from replay import datasets
from replay.run import ReplayReport, replay_files
from stream.app import run_worker
from stream.settings import Settings, load_settings, setting_source
from stream.subscriber import recommendations
from stream.topics import ensure_topics

app = typer.Typer(
    name="nextclick",
    help="Fresh top-20 recommendations after every event: a recurrent network steps once per event.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(help="Measure speed beside a limit or a peer of the same run.", no_args_is_help=True)
app.add_typer(bench, name="bench")
log = Console(stderr=True, soft_wrap=True)
out = Console(soft_wrap=True)

Files = Annotated[list[Path], typer.Argument(help="event files: .csv, .txt, .dat, also .xz .gz .bz2 .zip")]
Format = Annotated[str | None, typer.Option(help=f"one of {', '.join(datasets.FORMATS)}; else by content")]
OnError = Annotated[str, typer.Option(help="stop or skip, at a line that cannot be read")]
RegistryDir = Annotated[Path | None, typer.Option("--registry", help="folder of the model versions")]
Brokers = Annotated[str | None, typer.Option("--bootstrap-servers", help="Kafka, host:port")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, float, str], None]]:
    """A bar on a terminal, else a plain line every two seconds: update(done, total, text)."""
    if log.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        with Progress(*columns, console=log, transient=True) as bar:
            task = bar.add_task(title, text="")
            yield lambda done, total, text: bar.update(task, completed=done, total=total or None, text=text)
        return
    last_s = time.monotonic()

    def line(done: float, total: float, text: str) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= 2:
            last_s = time.monotonic()
            log.print(
                f"{title}: {done:,.0f}" + (f" of {total:,.0f}" if total else "") + f", {text}",
                highlight=False,
            )

    yield line


def moment(time_ms: float | None) -> str:
    """Epoch milliseconds as UTC text."""
    return "-" if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def parse_moment(text: str | None) -> int | None:
    """UTC text (ISO) as epoch milliseconds. Raises typer.BadParameter on anything else."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO time such as 2017-10-03 or 2017-10-03T12:00") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def check_on_error(on_error: str) -> str:
    """ "stop" or "skip"."""
    if on_error not in ("stop", "skip"):
        raise typer.BadParameter(f"--on-error is stop or skip, not {on_error!r}")
    return on_error


def load_log(files: list[Path], form: str | None, on_error: str) -> Any:
    """The files' events; what was left out is told on stderr."""
    rejects: Counter[str] = Counter()
    frame = datasets.load(files, format=form, on_error=check_on_error(on_error), rejects=rejects)
    times = frame["event_time_ms"]
    log.print(
        f"{len(frame):,} events, {moment(times.iloc[0])} to {moment(times.iloc[-1])}"
        + "".join(f"; left out {count:,}: {reason}" for reason, count in rejects.items()),
        highlight=False,
    )
    return frame


@app.command(epilog="Example: nextclick train clicks.csv.xz --epochs 5 --test-fraction 0.1")
def train(
    files: Files,
    test: Annotated[
        list[Path] | None, typer.Option(help="evaluate on these files, train on all of FILES")
    ] = None,
    test_fraction: Annotated[
        float, typer.Option(min=0.001, max=0.9, help="newest share of events kept for the evaluation")
    ] = 0.1,
    test_from: Annotated[str | None, typer.Option(help="evaluate from this UTC time on, instead")] = None,
    registry: RegistryDir = None,
    network: Annotated[str, typer.Option(help="the network's name")] = "gru4rec",
    epochs: Annotated[int, typer.Option(min=1)] = 5,
    hidden_size: Annotated[int, typer.Option(min=1)] = 100,
    layers: Annotated[int, typer.Option(min=1)] = 1,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    negatives: Annotated[int, typer.Option(min=0)] = 2048,
    alpha: float = 0.75,
    logq: float = 1.0,
    learning_rate: float = 0.05,
    dropout: Annotated[float, typer.Option(help="on embedding and hidden state")] = 0.0,
    seed: int = 42,
    session_gap_s: Annotated[
        float, typer.Option(help="silence that ends a session; 0: sessions as logged")
    ] = 1800,
    exclude_session_items: Annotated[
        bool, typer.Option(help="keep a session's own items out of its lists")
    ] = False,
    promote: Annotated[bool, typer.Option(help="make the version the champion")] = True,
    format: Format = None,
    on_error: OnError = "stop",
    as_json: Json = False,
) -> None:
    """Train a network on event files, evaluate it on the newest part, save it as a version."""
    folder = Registry(registry or load_settings().registry_dir)
    config = ModelConfig(
        network=network, epochs=epochs, hidden_size=hidden_size, layers=layers, batch_size=batch_size,
        negatives=negatives, alpha=alpha, logq=logq, learning_rate=learning_rate, dropout_embedding=dropout,
        dropout_hidden=dropout, seed=seed, session_gap_s=session_gap_s or None,
        exclude_session_items=exclude_session_items,
    )  # fmt: skip
    earlier = load_log(files, format, on_error)
    if test:
        later = load_log(test, format, on_error)
    else:
        earlier, later = temporal_split(
            earlier, test_fraction=test_fraction, test_from_ms=parse_moment(test_from)
        )
        log.print(
            f"split by time: {len(earlier):,} events to train, {len(later):,} to evaluate", highlight=False
        )
    vocabulary = Vocabulary.from_frame(earlier)
    rule = SessionRule(config.session_gap_s)
    with progress_bar("training") as bar:

        def report(p: training.Progress) -> None:
            done = (p.epoch - 1) * p.total + p.events
            bar(done, p.epochs * p.total, f"epoch {p.epoch}/{p.epochs} loss {p.loss:.3f}")

        result = training.train(
            Sessions.from_frame(earlier, vocabulary, rule), vocabulary, config, progress=report
        )
    later_sessions = Sessions.from_frame(later, vocabulary, rule)
    with progress_bar("evaluating") as bar:
        scored = evaluate_network(
            result.network,
            later_sessions,
            exclude_session_items=exclude_session_items,
            progress=lambda done, total: bar(done, total, "events"),
        )
    popular = evaluate_network(Pop(vocabulary), later_sessions, exclude_session_items=exclude_session_items)
    scores = {
        "evaluation": scored.as_dict(),
        "pop": popular.as_dict(),
        "losses": result.losses,
        "events_per_s": round(result.events / result.seconds, 1),
    }
    data = {
        "files": [path.name for path in files],
        "events": len(earlier),
        "first_event_time_ms": int(earlier["event_time_ms"].iloc[0]),
        "last_event_time_ms": int(earlier["event_time_ms"].iloc[-1]),
    }
    model = folder.save(result.network, config, vocabulary, scores=scores, data=data)
    if promote:
        folder.promote(model.version)
    if as_json:
        print(json.dumps({"version": model.version, "champion": promote, **scores}))
        return
    table = Table("", "Recall@20", "MRR@20", "next events")
    table.add_row(network, f"{scored.recall:.4f}", f"{scored.mrr:.4f}", f"{scored.targets:,}")
    table.add_row("POP", f"{popular.recall:.4f}", f"{popular.mrr:.4f}", f"{popular.targets:,}")
    out.print(table)
    out.print(
        f"version {model.version}{' (champion)' if promote else ''}: {len(vocabulary):,} items, "
        f"{scores['events_per_s']:,} training events/s; {scored.unknown:,} unknown test events left out",
        highlight=False,
    )


@app.command(epilog="Example: nextclick evaluate clicks-test.csv --model 20260101T120000000Z-1a2b3c4d")
def evaluate(
    files: Files,
    model: Annotated[str | None, typer.Option(help="version; default: the champion")] = None,
    registry: RegistryDir = None,
    format: Format = None,
    on_error: OnError = "stop",
    as_json: Json = False,
) -> None:
    """Next-item Recall@20 and MRR@20 of a version over all steps of the files' sessions."""
    loaded = Registry(registry or load_settings().registry_dir).load(model)
    frame = load_log(files, format, on_error)
    sessions = Sessions.from_frame(frame, loaded.vocabulary, SessionRule(loaded.config.session_gap_s))
    with progress_bar("evaluating") as bar:
        scored = evaluate_network(
            loaded.network,
            sessions,
            exclude_session_items=loaded.config.exclude_session_items,
            progress=lambda done, total: bar(done, total, "events"),
        )
    if as_json:
        print(json.dumps({"version": loaded.version, **scored.as_dict()}))
        return
    table = Table("version", "Recall@20", "MRR@20", "next events", "unknown, left out")
    row = (f"{scored.recall:.4f}", f"{scored.mrr:.4f}", f"{scored.targets:,}", f"{scored.unknown:,}")
    table.add_row(loaded.version, *row)
    out.print(table)


@app.command(epilog="Example: nextclick models --registry ./registry")
def models(registry: RegistryDir = None, as_json: Json = False) -> None:
    """The versions in the registry, oldest first, with their measured quality."""
    folder = Registry(registry or load_settings().registry_dir)
    versions = folder.versions()
    if as_json:
        print(json.dumps(versions))
        return
    table = Table("version", "network", "items", "Recall@20", "MRR@20", "trained on events until", "")
    for row in versions:
        scored = row["scores"].get("evaluation", {})
        table.add_row(
            row["version"],
            row["network"],
            f"{row['items']:,}",
            f"{scored.get('recall', float('nan')):.4f}",
            f"{scored.get('mrr', float('nan')):.4f}",
            moment(row["data"].get("last_event_time_ms")),
            "champion" if row["champion"] else "",
        )
    out.print(table)


@app.command(epilog="Example: nextclick replay clicks.csv.xz --speed 60")
def replay(
    files: Files,
    speed: Annotated[str, typer.Option(help="event seconds per wall second, or max")] = "max",
    from_: Annotated[str | None, typer.Option("--from", help="first event time, UTC")] = None,
    until: Annotated[str | None, typer.Option(help="event time to end before, UTC")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many events")] = None,
    lag_limit: Annotated[
        int | None, typer.Option(min=1, help="wait while the worker's group lags more")
    ] = None,
    group: Annotated[str | None, typer.Option(help="the worker's group, for --lag-limit")] = None,
    topic: Annotated[str | None, typer.Option(help="topic of the events")] = None,
    bootstrap_servers: Brokers = None,
    format: Format = None,
    on_error: OnError = "stop",
    as_json: Json = False,
) -> None:
    """Replay event files into Kafka in event-time order, keyed by session."""
    try:
        factor = None if speed == "max" else float(speed)
    except ValueError:
        raise typer.BadParameter(f"--speed is a number above 0 or max, not {speed!r}") from None
    if factor is not None and not 0 < factor < float("inf"):
        raise typer.BadParameter(f"--speed is a number above 0 or max, not {speed!r}")
    settings = load_settings(bootstrap_servers=bootstrap_servers, events_topic=topic, group_id=group)
    with progress_bar("replaying") as bar:

        def report(r: ReplayReport) -> None:
            bar(r.sent, limit or 0, f"{r.rate:,.0f} events/s, event time {moment(r.last_event_time_ms)}")

        result = replay_files(
            settings,
            files,
            format=format,
            on_error=check_on_error(on_error),
            from_ms=parse_moment(from_),
            until_ms=parse_moment(until),
            speed=factor,
            limit=limit,
            lag_limit=lag_limit,
            progress=report,
        )
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    out.print(
        f"{result.sure:,} events are in {settings.events_topic}, {moment(result.first_event_time_ms)} to "
        f"{moment(result.last_event_time_ms)}, {result.rate:,.0f} events/s",
        highlight=False,
    )
    for reason, count in result.rejects.items():
        out.print(f"left out {count:,}: {reason}", highlight=False)


@app.command(epilog="Example: nextclick worker --registry ./registry --state-dir ./state")
def worker(
    bootstrap_servers: Brokers = None,
    registry: RegistryDir = None,
    state_dir: Annotated[Path | None, typer.Option(help="folder of the session stores")] = None,
    worker_id: Annotated[str | None, typer.Option(help="this instance's name, one per process")] = None,
    partitions: Annotated[int | None, typer.Option(min=1, help="of events and recommendations")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda")] = None,
    deterministic: Annotated[bool | None, typer.Option(help="pad waves: lists equal byte for byte")] = None,
    web_port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
) -> None:
    """Run a stream worker: one step per event, top-20 lists out. Ends by SIGTERM or Ctrl-C."""
    flags = {name: value for name, value in locals().items() if name != "registry"}
    settings = load_settings(**flags, registry_dir=registry)
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for name in ("faust", "mode", "aiokafka"):
        logging.getLogger(name).setLevel(logging.WARNING)
    run_worker(settings)


@app.command(epilog="Example: nextclick watch --json --from-start --limit 100")
def watch(
    from_start: Annotated[bool, typer.Option(help="all kept lists, not only new ones")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="end after so many lists")] = None,
    idle_s: Annotated[float | None, typer.Option(min=0.1, help="end after so long without a list")] = None,
    bootstrap_servers: Brokers = None,
    registry: RegistryDir = None,
    as_json: Json = False,
) -> None:
    """Subscribe to the recommendations and show them as they come."""
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    lists = islice(recommendations(settings, from_start=from_start, idle_s=idle_s), limit)
    if as_json:
        for received in lists:
            shown = received.recommendation
            fields = {name: getattr(shown, name) for name in shown.__struct_fields__}
            print(json.dumps({**fields, "headers": received.headers}), flush=True)
        return
    folder = Registry(settings.registry_dir)
    titles = folder.load().vocabulary.titles if folder.champion() else {}
    for received in lists:
        shown = received.recommendation
        named = " · ".join(titles.get(item, item) for item in shown.items[:5])
        place = received.headers.get("position", "?")
        out.print(
            f"{moment(shown.event_time_ms)} {shown.session_id} #{place}: {named} …",
            markup=False,
            highlight=False,
        )


@app.command(epilog="Example: nextclick topics --partitions 8")
def topics(
    partitions: Annotated[int | None, typer.Option(min=1)] = None,
    create: Annotated[bool, typer.Option(help="create the missing ones")] = True,
    bootstrap_servers: Brokers = None,
) -> None:
    """Create and verify the topics."""
    settings = load_settings(bootstrap_servers=bootstrap_servers, partitions=partitions)
    for name, count in ensure_topics(settings, create=create).items():
        out.print(f"{name}: {count} partitions", highlight=False)


@app.command(epilog="Example: NEXTCLICK_WAVE_SIZE=32 nextclick settings")
def settings(as_json: Json = False) -> None:
    """Every setting with its value and where it comes from."""
    current = load_settings()
    rows = {
        name: {"value": getattr(current, name), "source": setting_source(name, {})}
        for name in Settings.model_fields
    }
    if as_json:
        print(json.dumps(rows, default=str))
        return
    table = Table("setting", "value", "from", "meaning")
    for name, row in rows.items():
        table.add_row(name, str(row["value"]), row["source"], Settings.model_fields[name].description or "")
    out.print(table)


@bench.command(
    name="stream",
    epilog="Example: nextclick bench stream clicks.csv.xz --events 300000",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def bench_stream(context: typer.Context) -> None:
    """The worker's events/s on a backlog in real Kafka, beside the model-only limit of the same run."""
    sys.argv = ["nextclick bench stream", *context.args]
    runpy.run_path(str(Path(__file__).parent / "deploy" / "benchmarks" / "stream.py"), run_name="__main__")


def main() -> None:
    """Run the command line; a NextclickError is printed in three parts and exits with 2."""
    try:
        app()
    except NextclickError as error:
        log.print(f"[bold red]error:[/] {error.what}", highlight=False)
        log.print(f"{error.meaning}\n[bold]do:[/] {error.remedy}", highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
