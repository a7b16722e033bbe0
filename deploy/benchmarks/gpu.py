"""What a GPU gives: correctness first, then training and step rates beside its own peak, as JSON and a page.

Networks are trained, evaluated, served and followed on the CPU and on the device first, and what differs is
shown. Training rates are of random sessions over items of Zipf popularity, since speed depends on shapes and
not on what is learned. A step is a wave of the served stepper, with its copies to the device and back and
its states in memory. With `--log` a worker serves that log from Kafka on the device at last. Matrix products
of the same run are the physical limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch

from deploy.benchmarks.measure.process import ROOT, machine
from deploy.benchmarks.scoring import items_of, model_of
from deploy.benchmarks.train import matmul_peak, random_sessions
from model.config import ModelConfig
from model.device import choose_device
from model.stepping.stepper import Stepper
from model.training.train import RunOptions, train

# GRU4Rec with sampled losses, the users of Donkers et al. at their 1,000 units, the stacked LSTM.
TRAININGS: dict[str, dict[str, Any]] = {
    "gru4rec": {"hidden_size": 100, "batch_size": 512, "negatives": 2048},
    "user-gru-attentional": {"hidden_size": 1000, "batch_size": 100, "negatives": 2048},
    "recurrent": {"hidden_size": 100, "batch_size": 512, "negatives": 2048},
}
CHECKED = ("gru4rec", "feature-lstm", "recurrent", "text-gru", "user-gru-attentional", "fused")
SQUARE = 8192


def correctness(device: torch.device) -> dict[str, Any]:
    """By network: how far losses and states are from the CPU's, and how many ranks and lists moved."""
    if not (ROOT / "tests").is_dir():
        print("not compared with the CPU: that needs the checkout's tests", file=sys.stderr)
        return {}
    command = [sys.executable, "-W", "ignore", "-m", "tests.harness.trained_on_device", *CHECKED]
    environment = {**os.environ, "NEXTCLICK_TEST_DEVICE": str(device)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {
        name: {
            "losses": one["losses"],
            "ranks_moved": f"{one['moved']} of {one['targets']}",
            "lists_moved": one["served"]["moved"],
            "states": one["served"]["states"],
            "followed_moved": None if one["followed"] is None else one["followed"]["moved"],
        }
        for name, one in json.loads(ended.stdout).items()
    }


def training_rate(name: str, events: int, items: int, device: torch.device) -> dict[str, Any]:
    """Events/s of one epoch, after a short one that sets up kernels and memory."""
    sessions, vocabulary = random_sessions(events, items, np.random.default_rng(0))
    embedding = {"embedding": "separate"} if name == "recurrent" else {}
    config = ModelConfig(network=name, epochs=1, **TRAININGS[name], **embedding)
    run = RunOptions(device=device)
    short, its_vocabulary = random_sessions(max(items, events // 10), items, np.random.default_rng(1))
    train(short, its_vocabulary, config, run=run)
    started = time.perf_counter()
    trained = train(sessions, vocabulary, config, run=run)
    rate = trained.events / (time.perf_counter() - started)
    return {**TRAININGS[name], "items": items, "events": trained.events, "events_per_s": round(rate)}


def step_rate(stepper: Stepper, events: np.ndarray[Any, Any], wave: int, seconds: float) -> dict[str, Any]:
    """Events/s and milliseconds of a wave, lists and states back on the CPU."""
    rows = stepper.initial_rows(wave)
    times_s: list[float] = []
    begun_s, at = time.perf_counter(), 0
    while len(times_s) < 20 or time.perf_counter() - begun_s < seconds:
        at = (at + wave) % (len(events) - wave)
        started = time.perf_counter()
        _, _, rows = stepper.step({"item": events[at : at + wave]}, rows)
        times_s.append(time.perf_counter() - started)
    # The first ones set up kernels and memory.
    times_ms = 1000 * np.array(times_s[len(times_s) // 4 :])
    return {
        "wave": wave,
        "events_per_s": round(1000 * wave / times_ms.mean()),
        "p50_ms": round(float(np.quantile(times_ms, 0.5)), 3),
        "p99_ms": round(float(np.quantile(times_ms, 0.99)), 3),
    }


def worker_rate(log: Path, events: int, device: torch.device) -> dict[str, Any]:
    """What `nextclick bench stream` says of a worker on the device."""
    command = [sys.executable, str(ROOT / "deploy/benchmarks/stream.py"), str(log), "--events", str(events)]
    environment = {**os.environ, "NEXTCLICK_DEVICE": str(device)}
    ended = subprocess.run(
        [*command, "--json"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def about(device: torch.device) -> dict[str, str]:
    """The device and the machine, in words."""
    if device.type != "cuda":
        return {"device": "the CPU", "machine": machine()}
    facts = torch.cuda.get_device_properties(device)
    named = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    return {"device": named, "machine": machine()}


def page(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [f"# On {found['device']}", f"{found['machine']}. Matrix products: {found['peak']}.", ""]
    for title, rows in (("Correctness", found["correctness"]), ("Training", found["training"])):
        lines += [f"## {title}", *_table([{"network": name, **row} for name, row in rows.items()]), ""]
    lines += ["## Steps", *_table(found["steps"]), ""]
    if found["worker"]:
        lines += ["## Worker", *_table([found["worker"]]), ""]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["Not run."]
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[str(row.get(name, "–")) for name in names] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in (names, ["---"] * len(names), *cells)]


def main() -> int:
    """Check, measure, write, print."""
    parser = argparse.ArgumentParser(prog="nextclick bench gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 46_033, 1_000_000, 10_000_000])
    parser.add_argument("--waves", type=int, nargs="+", default=[1, 8, 64, 256, 1024])
    parser.add_argument("--trainings", nargs="*", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--training-items", type=int, default=37_483)
    parser.add_argument("--training-events", type=int, default=2_000_000)
    parser.add_argument("--hidden-size", type=int, default=100, help="of the steps")
    parser.add_argument("--seconds", type=float, default=3, help="for each size of wave")
    parser.add_argument("--square", type=int, default=SQUARE, help="side of the products of the peak")
    parser.add_argument("--unchecked", action="store_true", help="leave the comparison with the CPU out")
    parser.add_argument("--log", type=Path, help="event file that a worker serves in the end")
    parser.add_argument("--events", type=int, default=300_000, help="of the log")
    parser.add_argument("--output", type=Path, help="write PATH.json and PATH.md")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    found: dict[str, Any] = about(device)
    found["correctness"] = {} if arguments.unchecked else correctness(device)
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    square = [(arguments.square,) * 3]
    measured = {kind: matmul_peak(square, device, dtype) for kind, dtype in kinds.items()}
    found["peak"] = ", ".join(f"{kind} {rate / 1e12:.1f} TFLOP/s" for kind, rate in measured.items())
    found["training"] = {
        name: training_rate(name, arguments.training_events, arguments.training_items, device)
        for name in arguments.trainings
    }
    found["steps"] = []
    for items in arguments.items:
        model = model_of(items, None, arguments.hidden_size)
        stepper = Stepper(model, device=str(device), wave_size=max(arguments.waves))
        events = items_of(items, 4 * max(arguments.waves) + 1)
        found["steps"] += [
            {"items": items, **step_rate(stepper, events, wave, arguments.seconds)}
            for wave in arguments.waves
        ]
    found["worker"] = worker_rate(arguments.log, arguments.events, device) if arguments.log else {}
    if arguments.output:
        arguments.output.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
        arguments.output.with_suffix(".md").write_text(page(found))
    print(json.dumps(found) if arguments.json else page(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
