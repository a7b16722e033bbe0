"""Training events/s and FLOP/s of GRU4Rec, beside the machine's matmul peak of the same run.

The data are random sessions over `--items` items of Zipf popularity: speed depends on
shapes, not on what is learned. The peak is the best of matrix products of the batch's own
shape and of large squares, before and after the training.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.device import CPU
from model.training.train import RunOptions, train

PEAK_SECONDS = 1.5


def wait_for(device: torch.device) -> None:
    """Return when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_peak(
    shapes: list[tuple[int, int, int]], device: torch.device = CPU, dtype: torch.dtype = torch.float32
) -> float:
    """The best FLOP/s of products of (n×k)·(k×m)."""
    best = 0.0
    for n, k, m in shapes:
        left, right = (torch.randn(*shape, device=device).to(dtype) for shape in ((n, k), (k, m)))
        out = torch.mm(left, right)
        wait_for(device)
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < PEAK_SECONDS:
            torch.mm(left, right, out=out)
            wait_for(device)
            count += 1
        best = max(best, 2 * n * k * m * count / (time.perf_counter() - started))
    return best


def random_sessions(events: int, items: int, rng: np.random.Generator) -> tuple[Sessions, Vocabulary]:
    """Sessions of four events on average over items of Zipf popularity, each item at least once."""
    popularity = 1 / np.arange(1, items + 1)
    drawn = rng.choice(items, size=events, p=popularity / popularity.sum())
    drawn[rng.permutation(events)[:items]] = np.arange(items)
    lengths = rng.geometric(1 / 3, size=events) + 1
    offsets = np.r_[0, np.cumsum(lengths)]
    offsets = np.r_[offsets[offsets < events], events]
    sessions = Sessions(offsets, drawn, np.arange(events) * 1000, np.empty(len(offsets) - 1, object))
    return sessions, Vocabulary([f"{n}" for n in range(items)], np.bincount(drawn, minlength=items))


def main() -> int:
    """Measure the peak, train one epoch, measure the peak again, print."""
    parser = argparse.ArgumentParser(prog="nextclick bench train", description=__doc__)
    parser.add_argument("--items", type=int, default=37_483)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--negatives", type=int, default=2048)
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--loss", default="cross-entropy")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.events < arguments.items:
        parser.error("--events is at least --items, so that each item can occur")
    sessions, vocabulary = random_sessions(arguments.events, arguments.items, np.random.default_rng(0))
    config = ModelConfig(
        epochs=1,
        batch_size=arguments.batch_size,
        negatives=arguments.negatives,
        hidden_size=arguments.hidden_size,
        loss=arguments.loss,
    )
    units = config.hidden_size
    candidates = config.batch_size + config.negatives
    shapes = [(config.batch_size, units, candidates), (1024, 1024, 1024)]
    torch.set_num_threads(arguments.threads)
    before = matmul_peak(shapes)
    result = train(sessions, vocabulary, config, run=RunOptions(threads=arguments.threads))
    peak = max(before, matmul_peak(shapes))
    rate = result.events / result.seconds
    # Forward and, twice that, backward: two products of H×3H in the cell, one of H×C for the scores.
    flop = 3 * (12 * units * units + 2 * units * candidates)
    figures = {
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}",
        "items": len(vocabulary),
        "batch_size": config.batch_size,
        "negatives": config.negatives,
        "hidden_size": units,
        "loss": config.loss,
        "training_events": result.events,
        "training_events_per_s": round(rate),
        "achieved_gflop_per_s": round(rate * flop / 1e9, 1),
        "matmul_peak_gflop_per_s": round(peak / 1e9, 1),
        "events_per_s_at_the_peak": round(peak / flop),
        "share_of_the_peak": round(rate * flop / peak, 3),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
