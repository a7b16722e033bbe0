"""A log to retrain on, and the command as a process."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pandas as pd

from model.registry.registry import Registry
from replay.sending.replay import replay_frames
from stream.failpoints import VARIABLE
from stream.retraining.options import RetrainOptions
from stream.retraining.retrain import retrain
from stream.settings import Settings
from tests.harness import fork_server
from tests.harness.fork_server import ForkedProcess
from tests.harness.markov_shoppers import markov_shoppers

SMALL = {"hidden_size": 16, "negatives": 64, "learning_rate": 0.1, "epochs": 3}


def two_parts(seed: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """An hour or two of shoppers in two parts; in the second some items have new names."""
    frame = markov_shoppers(sessions=3_000, items=100, seed=seed, noise=0.05).frame
    half_ms = int(frame["event_time_ms"].median())
    begins_ms = frame.groupby("session_id")["event_time_ms"].transform("min")
    first, second = frame[begins_ms < half_ms], frame[begins_ms >= half_ms].copy()
    # What the first part's sessions still do in the second's time, nobody saw.
    first = first[first["event_time_ms"] < half_ms]
    second["item_id"] = second["item_id"].replace({f"i{n}": f"new{n}" for n in range(5)})
    return first.reset_index(drop=True), second.reset_index(drop=True)


def shuffled(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The same items at the same times, but none in the session in which it was."""
    items = np.random.default_rng(seed).permutation(frame["item_id"].to_numpy())
    return frame.assign(item_id=items)


def first_champion(settings: Settings, frame: pd.DataFrame) -> str:
    """Put the frame into the log, and train a champion on it; → its version."""
    replay_frames(settings, [frame])
    report = retrain(settings, RetrainOptions(changes=SMALL))
    assert report.version is not None, report
    return report.version


def start(settings: Settings, *arguments: str, fault: str | None = None) -> ForkedProcess:
    """Start `nextclick retrain`, to be killed at the point `fault`."""
    failpoint = {VARIABLE: fault} if fault else {}
    return fork_server.start("retrain", *arguments, env={**os.environ, **settings.environment(), **failpoint})


def ended(process: ForkedProcess) -> tuple[int, str, str]:
    """→ exit status, standard output, standard error."""
    out, log = process.communicate(120)
    return process.wait(), out, log


def left_over(settings: Settings) -> list[str]:
    """What a registry at rest must not hold."""
    root = settings.registry_dir
    found = [*root.glob(".unfinished*"), *root.glob("reports/.unfinished*"), *root.glob("*.unfinished")]
    return [str(path) for path in [*found, *root.glob(".retrain-accepted.json")]]


def versions(settings: Settings) -> list[dict[str, Any]]:
    """All versions of the registry, each of which can be loaded."""
    registry = Registry(settings.registry_dir)
    rows = registry.versions()
    for row in rows:
        registry.load(row["version"])
    return rows


def reports(settings: Settings) -> list[dict[str, Any]]:
    """The reports of all runs, oldest first."""
    folders = sorted((settings.registry_dir / "reports").glob("*"))
    return [json.loads((folder / "report.json").read_text()) for folder in folders]
