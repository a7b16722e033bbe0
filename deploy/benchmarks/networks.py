"""What networks cost at a size: training events/s, time of a step, memory, each in its own process.

The data are random sessions over `--items` items of Zipf popularity, each with a title, brand, category
and price: cost depends on shapes, not on what is learned. The machine's matmul peak is from the same
run. With one thread all times are CPU time, so that other load matters little. A step scores all items
for a wave of one session or of 64, and makes the lists.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.benchmarks.train import matmul_peak
from model.config import ModelConfig
from model.config_files import distinct, parse_models, parse_settings, read_variants
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.memory import peak_memory_bytes
from model.networks.by_name import columns_of
from model.networks.model_version import ModelVersion
from model.stepping.stepper import Stepper
from model.training.train import RunOptions, train

WAVES = (1, 64)
WORDS = 2_000


def random_log(events: int, items: int, rng: np.random.Generator) -> pd.DataFrame:
    """Each item once, then `events` of sessions of four on average, in event-time order."""
    popularity = 1 / np.arange(1, items + 1)
    item = np.r_[np.arange(items), rng.choice(items, size=events, p=popularity / popularity.sum())]
    events += items
    lengths = rng.geometric(1 / 3, size=events) + 1
    session = np.repeat(np.arange(events), lengths)[:events]
    words = rng.integers(WORDS, size=(items, 5))
    titles = np.array([" ".join(f"word{word}" for word in row) for row in words], object)
    return pd.DataFrame(
        {
            "session_id": session.astype(str),
            "item_id": item.astype(str),
            "event_time_ms": np.arange(events) * 1000,
            "user_id": (session // 3).astype(str),
            "brand": [f"brand{number}" for number in item % 500],
            "category": [f"category{number}" for number in item % 100],
            "price": 1.0 + item % 97,
            "title": titles[item],
        }
    )


def measure(
    config: ModelConfig, events: int, items: int, threads: int, step_seconds: float
) -> dict[str, Any]:
    """One epoch of training, then steps of waves."""
    torch.set_num_threads(threads)
    frame = random_log(events, items, np.random.default_rng(0))
    vocabulary = Vocabulary.from_frame(frame, columns_of(config))
    sessions = Sessions.from_frame(frame[items:], vocabulary, SessionRule(None))
    before = peak_memory_bytes() >> 20
    clock = time.process_time if threads == 1 else time.perf_counter
    started = clock()
    result = train(sessions, vocabulary, config, run=RunOptions(threads=threads))
    seconds = clock() - started
    figures: dict[str, Any] = {
        "parameters": sum(p.numel() for p in result.network.parameters() if p.requires_grad),
        "training_events_per_s": round(result.events / seconds),
        "mib_before_training": before,
        "peak_mib": peak_memory_bytes() >> 20,
    }
    stepper = Stepper(
        ModelVersion("", config, vocabulary, result.network),
        device="cpu",
        wave_size=max(WAVES),
        scoring="exact",
    )
    for wave in WAVES:
        rows = stepper.initial_rows(wave)
        chosen = frame.iloc[:wave]
        columns = {name: chosen[name].to_numpy(object) for name in columns_of(config)}
        columns["item"] = vocabulary.encode(chosen["item_id"])
        count, started = -3, clock()
        while count < 1 or clock() - started < step_seconds:
            if not count:
                started = clock()
            stepper.step(columns, rows)
            count += 1
        figures[f"ms_per_step_of_{wave}"] = round(1000 * (clock() - started) / count, 3)
    figures["state_bytes"] = stepper.layout.row_bytes
    return figures


def main() -> int:
    """Measure the peak, then network after network, and print a line for each."""
    # By the module's name: what runs as a script cannot be found by another process.
    from deploy.benchmarks.networks import measure

    parser = argparse.ArgumentParser(prog="nextclick bench networks", description=__doc__)
    parser.add_argument("--models", default="", help="as in `nextclick compare`")
    parser.add_argument("--variants", type=Path, help="a file of named configurations")
    parser.add_argument("--only", default="", help="the names of some of the variants")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="name=value, of all")
    parser.add_argument("--items", type=int, default=37_483)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2, help="of steps, for each size of wave")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    always = {**parse_settings(arguments.settings), "epochs": 1, "session_gap_s": 0}
    try:
        configs = parse_models(arguments.models.split(), {}, always) if arguments.models else {}
        if arguments.variants:
            named = read_variants(arguments.variants, always, arguments.only.split())
            configs = distinct([*configs.items(), *named.items()])
    except NextclickError as error:
        parser.error(f"{error.what} {error.meaning} {error.remedy}")
    if not configs:
        parser.error("name some with --models or --variants")
    torch.set_num_threads(arguments.threads)
    figures: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {arguments.threads} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}",
        "items": arguments.items,
        "matmul_peak_gflop_per_s": round(matmul_peak([(1024, 1024, 1024)]) / 1e9, 1),
    }
    if not arguments.json:
        print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    for name, config in configs.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            size = arguments.events, arguments.items, arguments.threads, arguments.seconds
            figures[name] = pool.submit(measure, config, *size).result()
        if not arguments.json:
            print(f"{name}: {', '.join(f'{key} {value:,}' for key, value in figures[name].items())}")
    if arguments.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
