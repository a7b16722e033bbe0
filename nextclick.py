"""The command line of nextclick: composes model, stream and replay; nothing imports it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import typer
from rich.markup import escape

from model.errors import NextclickError
from replay.acls_command import acls
from replay.archive_command import archive
from replay.cadence_command import cadence
from replay.certify_command import certify
from replay.compare_command import compare, tune
from replay.console import log
from replay.dlq_command import dlq
from replay.doctor_command import doctor
from replay.evaluate_command import evaluate
from replay.log_report_command import data
from replay.models_command import models
from replay.promote_command import promote, rollback, shadow
from replay.quality_command import quality
from replay.recommend_command import recommend
from replay.replay_command import replay
from replay.retrain_command import retrain_command
from replay.session_command import session
from replay.settings_command import settings
from replay.synthetic_command import synthetic
from replay.topics_command import topics
from replay.train_command import train
from replay.two_words import TwoWords
from replay.verify_command import verify
from replay.watch_command import watch
from replay.worker_command import worker
from stream.asyncapi_command import asyncapi
from stream.logs import log_failure, tells_json

app = typer.Typer(
    name="nextclick",
    help="Fresh top-20 recommendations after every event: a recurrent network steps once per event.",
    cls=TwoWords,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(help="Measure speed beside a limit or a peer of the same run.", no_args_is_help=True)
app.add_typer(bench, name="bench")
app.add_typer(data, name="data")


app.command(epilog="Example: nextclick train clicks.csv.xz --epochs 5 --test-fraction 0.1")(train)
app.command(epilog="Example: nextclick evaluate clicks-test.csv --model 20260101T120000000Z-1a2b3c4d")(
    evaluate
)
app.command(epilog='Example: nextclick recommend --items "white mug" "lunch bag" --k 5')(recommend)
app.command(
    epilog="Example: nextclick compare clicks.csv.xz --models 'gru4rec gru4rec:loss=bpr-max v-sknn pop'"
)(compare)
app.command(epilog="Example: nextclick quality --worker http://127.0.0.1:6066 --plot quality.png")(quality)
app.command(epilog="Example: nextclick cadence clicks.csv.xz --every never,24h,6h,1h --plot cadence.png")(
    cadence
)
app.command(epilog="Example: nextclick tune clicks.csv.xz --trials 30 --output params.toml")(tune)
app.command(epilog="Example: nextclick archive --folder ./archive --until-end")(archive)
app.command(epilog="Example: nextclick asyncapi > asyncapi.yaml")(asyncapi)
app.command(epilog="Example: nextclick acls --role worker --apply")(acls)
app.command(epilog="Example: nextclick replay clicks.csv.xz --speed 60")(replay)
app.command("retrain", epilog="Example: nextclick retrain --every 6h")(retrain_command)

app.command(epilog="Example: nextclick models --registry ./registry")(models)
app.command(epilog="Example: nextclick worker --registry ./registry --state-dir ./state")(worker)
app.command(epilog="Example: nextclick watch --json --from-start --limit 100")(watch)
app.command(epilog="Example: NEXTCLICK_WAVE_SIZE=32 nextclick settings")(settings)
app.command(epilog="Example: nextclick doctor --json")(doctor)
app.add_typer(topics, name="topics")
app.add_typer(dlq, name="dlq")
app.add_typer(session, name="session")
app.command(epilog="Example: nextclick synthetic --events 10000000 --items 50000 --output clicks.csv")(
    synthetic
)
app.command(epilog="Example: nextclick certify clicks.csv.xz --kills 5 --compare lists.json")(certify)
app.command(epilog="Example: nextclick replay verify sent.json")(verify)
app.command(epilog="Example: nextclick promote 20260101T120000000Z-1a2b3c4d")(promote)
app.command(epilog="Example: nextclick rollback --to 20260101T120000000Z-1a2b3c4d")(rollback)
app.command(epilog="Example: nextclick shadow 20260101T120000000Z-1a2b3c4d --share 0.2")(shadow)


# Programs of deploy/benchmarks, which have options of their own: what each measures, and an example.
BENCHMARKS = {
    "stream": (
        "The worker's events/s on a backlog in real Kafka, beside the model-only limit of the same run.",
        "clicks.csv.xz --events 300000 --peer quix",
    ),
    "workers": (
        "Events/s of one worker and of several on the same backlog, each held to one core.",
        "clicks.csv.xz --workers 1 2 --network pop",
    ),
    "latency": (
        "Event to list at a fixed rate, Kafka both ways, beside a bare echo of the same run.",
        "clicks.csv.xz --rate 500 --seconds 60",
    ),
    "swap": (
        "Event to list while the worker changes from version to version, beside the normal of the same run.",
        "clicks.csv.xz --rate 500 --swaps 5",
    ),
    "recovery": (
        "Restart with many open sessions, and after a lost disk, beside plain reading of the same run.",
        "--sessions 1000000",
    ),
    "endurance": (
        "An hour at a steady rate with a retraining and two swaps: delay, memory, store, files, accounting.",
        "clicks.csv.xz --rate 1000 --seconds 3600 --plot load.png",
    ),
    "scoring": (
        "Events/s of stepping by size of vocabulary, wave and scoring, beside the machine's limit.",
        "--items 46033",
    ),
    "scale": (
        "What a target rate needs, calculated from measured figures, beside a simulation that checks it.",
        "--events-per-s 1000000 --clicks clicks.csv.xz",
    ),
    "replay": (
        "Replayed events/s beside Kafka's own producer-perf-test, reading, memory and pace, in one run.",
        "--events 2000000 --gigabytes 1",
    ),
    "train": (
        "Training events/s and FLOP/s of GRU4Rec, beside the machine's matmul peak of the same run.",
        "--items 37483",
    ),
    "networks": (
        "Training events/s, time of a step and memory of networks at a size, beside the machine's peak.",
        "--models 'gru4rec feature-lstm' --items 37483",
    ),
}


def add_benchmark(name: str, summary: str, example: str) -> None:
    """Make deploy/benchmarks/NAME.py the command `bench NAME`."""

    @bench.command(
        name=name,
        help=summary,
        epilog=f"Example: nextclick bench {name} {example}",
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )
    def run_benchmark(context: typer.Context) -> None:
        sys.argv = [f"nextclick bench {name}", *context.args]
        folder = Path(__file__).parent / "deploy" / "benchmarks"
        runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")


for benchmark, (summary, example) in BENCHMARKS.items():
    add_benchmark(benchmark, summary, example)


def main() -> None:
    """Run the command line; a NextclickError is printed in three parts and exits with 2."""
    try:
        app()
    except NextclickError as error:
        if tells_json():
            log_failure(error)
        else:
            log.print(f"[bold red]error:[/] {escape(error.what)}", highlight=False)
            log.print(f"{escape(error.meaning)}\n[bold]do:[/] {escape(error.remedy)}", highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
