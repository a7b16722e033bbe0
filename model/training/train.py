"""Training: a new network from sessions, from the beginning, a checkpoint or an earlier model.

Tested by tests/unit/model/training/test_checkpoint.py and tests/learning/test_learning.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.splits import hold_out_newest
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.memory import keep_freed_memory
from model.networks.by_name import build
from model.networks.fused.fused_list import FusedList
from model.networks.network import CountingNetwork, GradientNetwork
from model.training.epochs import Epochs
from model.training.fused_training import train_fused
from model.training.run_options import Progress, RunOptions
from model.training.trained_model import TrainedModel
from model.training.training_data import TrainingData
from model.training.warm_start import WarmStart

__all__ = ["Progress", "RunOptions", "TrainedModel", "train"]


def train(
    sessions: Sessions,
    vocabulary: Vocabulary,
    config: ModelConfig,
    *,
    validation: Sessions | None = None,
    start: WarmStart | None = None,
    run: RunOptions | None = None,
    counted: Sessions | None = None,
) -> TrainedModel:
    """Train a new network on `sessions`, in their order, for `config.epochs` passes.

    `start` is an earlier model to go on from. `validation` is evaluated after each epoch, for the curve.
    With `config.patience` the validation also decides when to stop, and the best epoch's weights win;
    without `validation` the newest tenth of the sessions is held out for it. With
    `config.dwell_threshold_s` the sessions are boosted. `counted` are what the sources of a fused list count
    instead of `sessions`: the same, and older ones, by their first events. Raises NextclickError when no
    session has two known events, or when the loss is not finite; the last checkpoint then stays.

    >>> import numpy as np
    >>> session = Sessions(np.array([0, 2]), np.array([0, 1]), np.array([5, 9]), np.array(["s"]))
    >>> trained = train(session, Vocabulary(["a", "b"], np.array([1, 1])), ModelConfig(network="pop"))
    >>> trained.events
    1
    """
    run = run or RunOptions()
    if (sessions.items < 0).any():
        sessions = sessions.known()
    if not sessions.pairs:
        raise NextclickError(
            "no session has two events of known items",
            "There is no next event to learn from.",
            "Use a longer log, or check that its session column is the right one.",
        )
    if config.patience is not None and validation is None:
        sessions, validation = hold_out_newest(sessions)
    if config.dwell_threshold_s is not None:
        sessions = sessions.boosted(config.dwell_threshold_s)
    keep_freed_memory()
    torch.manual_seed(config.seed)
    network = build(config, vocabulary)
    with _sharing_products(run.threads):
        if isinstance(network, GradientNetwork):
            data = TrainingData(sessions, vocabulary, validation)
            result = Epochs(network, data, config, start, run).run()
        elif isinstance(network, FusedList):
            data = TrainingData(sessions, vocabulary, validation)
            result = train_fused(network, data, config, start, run, counted)
        else:
            assert isinstance(network, CountingNetwork)
            started = time.perf_counter()
            network.fit(sessions, vocabulary, config)
            result = TrainedModel(network, config, vocabulary, events=sessions.pairs)
            result.seconds = time.perf_counter() - started
    network.eval()
    return result


@contextmanager
def _sharing_products(threads: int) -> Iterator[None]:
    """Let torch use `threads` for each product; restores the former number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
