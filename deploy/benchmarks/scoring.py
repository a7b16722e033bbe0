"""Events/s of stepping by size of vocabulary, wave and scoring, beside the machine's limit.

The limit is the faster of the two things that a whole scoring cannot do without: its FLOP at
the best rate of float32 products measured in the same run, or reading the table once a wave at
the measured bandwidth. Weights are those of the champion in `--registry`, repeated
with noise of half their length when there are more items than it has; without a registry, random ones.
Agreement is the share of lists with the items of the exact list, ignoring swaps within a relative 1e-4,
and the share of common items.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig, Scoring
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.registry.registry import Registry
from model.stepping.choose_shortlist import choose_shortlist
from model.stepping.shortlist import Shortlist
from model.stepping.stepper import Stepper

Lists = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
SESSION_EVENTS = 4
NOISE = 0.5


def best_seconds(run: Callable[[], object], seconds: float) -> float:
    """The least time of a call, of those made in `seconds`, at least three after the first two."""
    run(), run()
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < ends:
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def peak_flop_per_s() -> float:
    """The best rate of float32 products of squares, by either of torch's libraries."""
    square = torch.randn(1024, 1024)
    ways: list[Callable[[], object]] = [lambda: square @ square]
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        multiply = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
        ways.append(lambda: multiply(square, square, None, "none", [], ""))
    return 2 * 1024**3 / min(best_seconds(way, 1) for way in ways)


def bytes_per_s() -> float:
    """The best rate of reading memory that no cache holds."""
    large = torch.ones(1 << 26)
    return large.nbytes / best_seconds(large.sum, 1)


def model_of(items: int, champion: ModelVersion | None, hidden_size: int) -> ModelVersion:
    """A network of so many items with the champion's weights, or with random ones."""
    config = champion.config if champion else ModelConfig(hidden_size=hidden_size)
    vocabulary = Vocabulary([f"{n}" for n in range(items)], np.ones(items, np.int64))
    torch.manual_seed(0)
    network = build(config, vocabulary)
    if champion:
        rows = torch.arange(items) % champion.network.items
        again = torch.arange(items) >= champion.network.items
        for name, target in network.state_dict().items():
            source = champion.network.state_dict()[name]
            if source.shape == target.shape:
                target.copy_(source)
            elif name == "prior.counts_KV":
                target.copy_(source[:, rows])
            else:
                target.copy_(source[rows])
                if target.ndim == 2:
                    length = target[again].norm(dim=1, keepdim=True)
                    target[again] += (
                        torch.randn(length.shape[0], target.shape[1])
                        * length
                        * (NOISE / target.shape[1] ** 0.5)
                    )
    return ModelVersion("benchmark", config, vocabulary, network.eval())


def run_waves(stepper: Stepper, items: npt.NDArray[np.int64], wave: int, seconds: float) -> float:
    """Events/s of the best half second: sessions of four events, states carried in memory."""
    rows = blank = stepper.initial_rows(wave)
    best, at, count = 0.0, 0, 0
    ends = time.perf_counter() + seconds
    started = time.perf_counter()
    while True:
        at = (at + wave) % (len(items) - wave)
        _, _, rows = stepper.step({"item": items[at : at + wave]}, rows)
        count += 1
        if count % SESSION_EVENTS == 0:
            rows = blank
        now = time.perf_counter()
        if now - started > min(0.5, seconds / 2):
            best = max(best, count * wave / (now - started))
            count, started = 0, now
            if now > ends:
                return best


def lists_of(stepper: Stepper, items: npt.NDArray[np.int64], events: int) -> Lists:
    """The lists of waves of 64 over the first events."""
    ids, scores, rows = [], [], stepper.initial_rows(64)
    blank = rows
    for number, at in enumerate(range(0, events, 64)):
        if number % SESSION_EVENTS == 0:
            rows = blank
        ids_Bk, scores_Bk, rows = stepper.step({"item": items[at : at + 64]}, rows)
        ids.append(ids_Bk)
        scores.append(scores_Bk)
    return np.concatenate(ids), np.concatenate(scores)


def agreement(lists: Lists, exact: Lists) -> dict[str, float]:
    """Share of lists that are the exact ones but for near ties, and share of their items."""
    (ids, scores), (exact_ids, exact_scores) = lists, exact
    same = np.isclose(scores, exact_scores, rtol=1e-4, atol=1e-6).all(1)
    shared = [len(np.intersect1d(a, b)) / ids.shape[1] for a, b in zip(ids, exact_ids, strict=True)]
    return {"same_lists": float(same.mean()), "same_items": float(np.mean(shared))}


def items_of(count: int, length: int) -> npt.NDArray[np.int64]:
    """Events of Zipf popularity."""
    popularity = 1 / np.arange(1, count + 1)
    return np.random.default_rng(0).choice(count, size=length, p=popularity / popularity.sum())


def main() -> int:
    """Measure the limits, then every combination, and print a line for each."""
    parser = argparse.ArgumentParser(prog="nextclick bench scoring", description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[37_483, 46_033, 100_000, 1_000_000])
    parser.add_argument("--waves", type=int, nargs="+", default=[1, 16, 64, 128])
    parser.add_argument("--scorings", nargs="+", choices=get_args(Scoring), default=get_args(Scoring))
    parser.add_argument("--registry", type=Path, help="take the weights of its champion")
    parser.add_argument("--hidden-size", type=int, default=100, help="of random weights")
    parser.add_argument("--lists", type=int, default=2048, help="how many are compared for the agreement")
    parser.add_argument("--seconds", type=float, default=2, help="for each combination")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    champion = Registry(arguments.registry).load() if arguments.registry else None
    flop_per_s, read_per_s = peak_flop_per_s(), bytes_per_s()
    about = {
        "machine": f"{platform.processor() or platform.machine()}, {arguments.threads} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}",
        "weights": champion.version if champion else "random",
        "peak_gflop_per_s": round(flop_per_s / 1e9, 1),
        "memory_gb_per_s": round(read_per_s / 1e9, 1),
    }
    if not arguments.json:
        print("\n".join(f"{name}: {value}" for name, value in about.items()))
        print("    items  wave  scoring      events/s   limit  share  same lists  same items")
    results: list[dict[str, Any]] = []
    for count in arguments.items:
        model = model_of(count, champion, arguments.hidden_size)
        assert isinstance(model.network, GradientNetwork)
        table: Tensor = model.network.get_parameter(model.network.output_table)
        events = items_of(count, max(20_000, arguments.lists + 64))
        exact: Lists | None = None
        for scoring in arguments.scorings:
            try:
                started = time.perf_counter()
                chooser: Scoring | Shortlist = (
                    choose_shortlist(scoring, model.network, torch.device("cpu")) or "exact"
                )
                ready_s = time.perf_counter() - started
            except NextclickError as error:
                print(f"left out: {error.what}. do: {error.remedy}", file=sys.stderr)
                continue
            exact = exact or lists_of(Stepper(model, device="cpu"), events, arguments.lists)
            stepper = Stepper(model, device="cpu", scoring=chooser)
            agreed = agreement(lists_of(stepper, events, arguments.lists), exact)
            for wave in arguments.waves:
                rate = run_waves(stepper, events, wave, arguments.seconds)
                limit = min(flop_per_s / (2 * table.numel()), read_per_s * wave / table.nbytes)
                row = {
                    "items": count,
                    "wave": wave,
                    "scoring": scoring,
                    "events_per_s": round(rate),
                    "limit_of_exact_events_per_s": round(limit),
                    "share_of_limit": round(rate / limit, 3),
                    **{name: round(value, 5) for name, value in agreed.items()},
                    "ready_s": round(ready_s, 2),
                }
                results.append(row)
                if not arguments.json:
                    print(
                        f"{count:>9,} {wave:>5}  {scoring:<11} {rate:>9,.0f} {limit:>7,.0f} "
                        f"{rate / limit:>6.2f} {agreed['same_lists']:>11.4%} {agreed['same_items']:>11.4%}",
                        flush=True,
                    )
    if arguments.json:
        print(json.dumps({**about, "results": results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
