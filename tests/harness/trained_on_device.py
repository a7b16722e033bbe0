"""Trains, evaluates and serves networks on the CPU and on another device; prints what differs as JSON.

A process of its own: `python -m tests.harness.trained_on_device`. The device is the emulated one, or what
NEXTCLICK_TEST_DEVICE names.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# First: the project's modules take what it changes in torch.
from tests.harness.compared_device import DEVICE, on_device, waits  # isort: skip

import numpy as np
import pandas as pd
import torch

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import rank_targets
from model.networks.by_name import NETWORKS, columns_of
from model.training.run_options import RunOptions
from model.training.train import train
from tests.harness.served_on_device import followed, served

SMALL: dict[str, Any] = {
    "hidden_size": 8, "negatives": 8, "batch_size": 8, "epochs": 2, "seed": 3, "brand_size": 4,
    "category_size": 4, "price_size": 4, "title_size": 8, "embedding_size": 8,
}  # fmt: skip
# What a network cannot be trained without.
NEEDED: dict[str, dict[str, Any]] = {
    "feature-lstm": {"embedding": "separate", "loss": "full-cross-entropy", "unroll": 3},
    "recurrent": {"embedding": "separate", "loss": "full-cross-entropy", "clip_norm": 1.0},
    "text-gru": {"loss": "mse", "optimizer": "adam"},
    "user-gru-linear": {"clip_norm": 1.0, "user_l2": 0.1},
}


def made_up_log(sessions: int = 60, items: int = 30) -> pd.DataFrame:
    """Sessions of two to six events with every column that a network reads."""
    rng = np.random.default_rng(5)
    rows = [
        (f"s{session}", f"u{session % 7}", int(item), session * 3_600_000 + place * 60_000)
        for session in range(sessions)
        for place, item in enumerate(rng.integers(items, size=rng.integers(2, 7)))
    ]
    frame = pd.DataFrame(rows, columns=["session_id", "user_id", "number", "event_time_ms"])
    number = frame.pop("number")
    return frame.assign(
        item_id="i" + number.astype(str), brand="b" + (number % 5).astype(str), kind="view",
        category="c" + (number % 3).astype(str), price=number + 1.0, title="thing " + number.astype(str),
    )  # fmt: skip


def compared(name: str, frame: pd.DataFrame) -> dict[str, object]:
    """Losses and ranks of one network on both, and the waits of a training batch on the device."""
    config = ModelConfig(network=name, **{**SMALL, **NEEDED.get(name, {})})
    vocabulary = Vocabulary.from_frame(frame, columns_of(config))
    sessions = Sessions.from_frame(frame, vocabulary, SessionRule(config.session_gap_s))
    found = []
    for device in (torch.device("cpu"), DEVICE):
        waits.clear()
        trained = train(sessions, vocabulary, config, run=RunOptions(device=device))
        of_training = dict(waits)
        ranks = rank_targets(trained.network.to(device), sessions, exclude_session_items=True).ranks
        found.append((trained.losses, ranks, of_training))
    (losses, ranks, _), (losses_on, ranks_on, counted) = found
    batches = config.epochs * -(-sessions.pairs // config.batch_size)
    return {
        "losses": max((abs(a - b) for a, b in zip(losses, losses_on, strict=True)), default=0.0),
        "epochs": len(losses_on),
        "moved": int((ranks != ranks_on).sum()),
        "targets": len(ranks),
        "batches": batches,
        "waits": {f"{what} {line}": count for (what, line), count in counted.items()},
        "served": served(trained.network, config, vocabulary, frame),
        "followed": followed(trained.network, config, vocabulary, frame),
    }


def main() -> None:
    """Print the comparison of the networks that are named, or of all."""
    frame = made_up_log()
    with on_device():
        found = {name: compared(name, frame) for name in sys.argv[1:] or NETWORKS}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
