"""The command line of nextclick: composes model, stream and replay; nothing imports it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import typer
from rich.markup import escape

from model.errors import NextclickError
from replay.commands.lazy_commands import Entry, commands_of
from replay.console import log
from stream.logs import log_failure, tells_json

COMMANDS = {
    "replay": Entry("replay.commands.replay:replay", "nextclick replay clicks.csv.xz --speed 60"),
    "worker": Entry(
        "replay.commands.worker:worker", "nextclick worker --registry ./registry --state-dir ./state"
    ),
    "watch": Entry("replay.commands.watch:watch", "nextclick watch --json --from-start --limit 100"),
    "train": Entry(
        "replay.commands.train:train", "nextclick train clicks.csv.xz --epochs 5 --test-fraction 0.1"
    ),
    "evaluate": Entry(
        "replay.commands.evaluate:evaluate",
        "nextclick evaluate clicks-test.csv --model 20260101T120000000Z-1a2b3c4d",
    ),
    "recommend": Entry(
        "replay.commands.recommend:recommend", 'nextclick recommend --items "white mug" "lunch bag" --k 5'
    ),
    "compare": Entry(
        "replay.commands.compare:compare",
        "nextclick compare clicks.csv.xz --models 'gru4rec gru4rec:loss=bpr-max v-sknn pop'",
    ),
    "tune": Entry(
        "replay.commands.compare:tune", "nextclick tune clicks.csv.xz --trials 30 --output params.toml"
    ),
    "cadence": Entry(
        "replay.commands.cadence:cadence",
        "nextclick cadence clicks.csv.xz --every never,24h,6h,1h --plot cadence.png",
    ),
    "retrain": Entry("replay.commands.retrain:retrain_command", "nextclick retrain --every 6h"),
    "models": Entry("replay.commands.models:models", "nextclick models --registry ./registry"),
    "promote": Entry("replay.commands.promote:promote", "nextclick promote 20260101T120000000Z-1a2b3c4d"),
    "rollback": Entry(
        "replay.commands.promote:rollback", "nextclick rollback --to 20260101T120000000Z-1a2b3c4d"
    ),
    "shadow": Entry(
        "replay.commands.promote:shadow", "nextclick shadow 20260101T120000000Z-1a2b3c4d --share 0.2"
    ),
    "quality": Entry(
        "replay.commands.quality:quality",
        "nextclick quality --worker http://127.0.0.1:6066 --plot quality.png",
    ),
    "data": Entry("replay.commands.data:data", "nextclick data report clicks.csv.xz --plot report.png"),
    "synthetic": Entry(
        "replay.commands.synthetic:synthetic",
        "nextclick synthetic --events 10000000 --items 50000 --output clicks.csv",
    ),
    "certify": Entry(
        "replay.commands.certify:certify", "nextclick certify clicks.csv.xz --kills 5 --compare lists.json"
    ),
    "verify": Entry("replay.commands.verify:verify", "nextclick replay verify sent.json"),
    "archive": Entry("replay.commands.archive:archive", "nextclick archive --folder ./archive --until-end"),
    "topics": Entry("replay.commands.topics:topics", "nextclick topics create --partitions 8"),
    "doctor": Entry("replay.commands.doctor:doctor", "nextclick doctor --json"),
    "dlq": Entry("replay.commands.dlq:dlq", "nextclick dlq show --reason schema"),
    "session": Entry("replay.commands.session:session", "nextclick session show 4711"),
    "acls": Entry("replay.commands.acls:acls", "nextclick acls --role worker --apply"),
    "asyncapi": Entry("replay.commands.asyncapi:asyncapi", "nextclick asyncapi > asyncapi.yaml"),
    "settings": Entry("replay.commands.settings:settings", "NEXTCLICK_WAVE_SIZE=32 nextclick settings"),
}

app = typer.Typer(
    name="nextclick",
    help="Fresh top-20 recommendations after every event: a recurrent network steps once per event.",
    cls=commands_of(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(help="Measure speed beside a limit or a peer of the same run.", no_args_is_help=True)
app.add_typer(bench, name="bench")

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
    "page": (
        "The live page's first paint, bytes and click to list, and what open pages cost the worker's rate.",
        "clicks.csv.xz --pages 50",
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
