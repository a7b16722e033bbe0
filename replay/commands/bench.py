"""`nextclick bench NAME`: runs the program deploy/benchmarks/NAME.py, which has options of its own."""

from __future__ import annotations

import os
import runpy
import sys
from typing import NamedTuple

import typer

from replay.deploy_files import deploy_folder

bench = typer.Typer(help="Measure speed beside a limit or a peer of the same run.", no_args_is_help=True)


class Benchmark(NamedTuple):
    """What a program measures, and the arguments of an example."""

    purpose: str
    example: str


BENCHMARKS = {
    "stream": Benchmark(
        "The worker's events/s on a backlog in real Kafka, beside the model-only limit of the same run.",
        "clicks.csv.xz --events 300000 --peer quix",
    ),
    "workers": Benchmark(
        "Events/s of one worker and of several on the same backlog, each held to one core.",
        "clicks.csv.xz --workers 1 2 --network pop",
    ),
    "latency": Benchmark(
        "Event to list at a fixed rate, Kafka both ways, beside a bare echo of the same run.",
        "clicks.csv.xz --rate 500 --seconds 60",
    ),
    "abuse": Benchmark(
        "Event to list, probes, memory and log while two clients attack, beside the same run without.",
        "clicks.csv.xz --rate 200 --seconds 600",
    ),
    "ask": Benchmark(
        "Lists and rankings asked for by HTTP at a fixed rate, beside events, while items are sold out.",
        "clicks.csv.xz --requests 500 --rate 500 --changes 100 --seconds 60",
    ),
    "items": Benchmark(
        "Memory of a million items and changes a second of a worker's table, beside reading them alone.",
        "--items 1000000 --changes 500000",
    ),
    "decoding": Benchmark(
        "What an event of a shop's JSON by mapping, or of Avro, costs a worker, beside its own JSON.",
        "--events 20000 --rounds 15",
    ),
    "swap": Benchmark(
        "Event to list while the worker changes from version to version, beside the normal of the same run.",
        "clicks.csv.xz --rate 500 --swaps 5",
    ),
    "recovery": Benchmark(
        "Restart with many open sessions, and after a lost disk, beside plain reading of the same run.",
        "--sessions 1000000",
    ),
    "gap": Benchmark(
        "For how long partitions have no lists after a kill, a restart and a pause of one of two workers.",
        "--faults kill restart pause",
    ),
    "endurance": Benchmark(
        "An hour at a steady rate with a retraining and two swaps: delay, memory, store, files, accounting.",
        "clicks.csv.xz --rate 1000 --seconds 3600 --plot load.png",
    ),
    "scoring": Benchmark(
        "Events/s of stepping by size of vocabulary, wave and scoring, beside the machine's limit.",
        "--items 46033",
    ),
    "scale": Benchmark(
        "What a target rate needs, calculated from measured figures, beside a simulation that checks it.",
        "--events-per-s 1000000 --clicks clicks.csv.xz",
    ),
    "replay": Benchmark(
        "Replayed events/s beside Kafka's own producer-perf-test, reading, memory and pace, in one run.",
        "--events 2000000 --gigabytes 1",
    ),
    "train": Benchmark(
        "Training events/s and FLOP/s of GRU4Rec, beside the machine's matmul peak of the same run.",
        "--items 37483",
    ),
    "networks": Benchmark(
        "Training events/s, time of a step and memory of networks at a size, beside the machine's peak.",
        "--models 'gru4rec feature-lstm' --items 37483",
    ),
    "newcomer": Benchmark(
        "Seconds from a CSV and from a topic that nobody has seen to lists, by the README's commands.",
        "--events 20000",
    ),
    "gpu": Benchmark(
        "Training and steps on a GPU beside its matrix products, once its results are those of the CPU.",
        "--log clicks.csv.xz --output gpu",
    ),
    "page": Benchmark(
        "The live page's first paint, bytes and click to list, and what open pages cost the worker's rate.",
        "clicks.csv.xz --pages 50",
    ),
}


def add_benchmark(name: str, benchmark: Benchmark) -> None:
    """Make deploy/benchmarks/NAME.py the command `bench NAME`; all arguments are the program's."""

    @bench.command(
        name=name,
        help=benchmark.purpose,
        epilog=f"Example: nextclick bench {name} {benchmark.example}",
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )
    def run_benchmark(context: typer.Context) -> None:
        sys.argv = [f"nextclick bench {name}", *context.args]
        deploy = deploy_folder()
        # Benchmarks import one another as deploy.benchmarks, and so do the processes that they start.
        sys.path.insert(0, str(deploy.parent))
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(deploy.parent), os.environ.get("PYTHONPATH")])
        )
        runpy.run_path(str(deploy / "benchmarks" / f"{name}.py"), run_name="__main__")


for name, benchmark in BENCHMARKS.items():
    add_benchmark(name, benchmark)
