"""Markov shoppers: made-up logs whose best lists are known, for learning and load tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

SUCCESSORS = 5


@dataclass(frozen=True)
class SyntheticLog:
    """The log, and for each item its successors, most probable first (items × 5)."""

    frame: pd.DataFrame
    successors: npt.NDArray[np.int64]


def markov_shoppers(
    *,
    sessions: int,
    items: int = 200,
    mean_length: float = 6.0,
    noise: float = 0.1,
    start_ms: int = 1_700_000_000_000,
    seed: int = 0,
) -> SyntheticLog:
    """Sessions that walk from item to item: each has 5 successors with fixed probabilities.

    With probability `noise` the next item is any item. Lengths are geometric, at least 2;
    sessions begin at random within an hour per thousand, 20 s between their events.
    """
    rng = np.random.default_rng(seed)
    successors = np.stack([rng.choice(items, SUCCESSORS, replace=False) for _ in range(items)])
    probabilities = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
    lengths = 1 + rng.geometric(1 / max(1.0, mean_length - 1), sessions)
    begins = start_ms + rng.integers(0, 3_600_000 * max(1, sessions // 1000), sessions)
    rows: list[tuple[str, str, int]] = []
    for session in range(sessions):
        item = int(rng.integers(items))
        for step in range(int(lengths[session])):
            rows.append((f"s{session}", f"i{item}", int(begins[session]) + 20_000 * step))
            if rng.random() < noise:
                item = int(rng.integers(items))
            else:
                item = int(successors[item, rng.choice(SUCCESSORS, p=probabilities)])
    frame = pd.DataFrame(rows, columns=["session_id", "item_id", "event_time_ms"])
    frame["kind"] = "view"
    frame = frame.sort_values("event_time_ms", kind="stable", ignore_index=True)
    return SyntheticLog(frame, successors)
