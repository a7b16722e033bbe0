"""Training: a new network from sessions, from the beginning, a checkpoint or an earlier model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import Evaluation
from model.memory import keep_freed_memory
from model.networks.by_name import build
from model.networks.network import CountingNetwork, GradientNetwork
from model.training.checkpoint import CheckpointFile
from model.training.epochs import Epochs, Progress, TrainingResult
from model.training.replicas import Replicas
from model.training.warm_start import WarmStart

__all__ = ["Progress", "TrainingResult", "train"]

# Without validation sessions, one in so many is held out where training is to stop early.
HELD_OUT = 10


def train(
    sessions: Sessions,
    vocabulary: Vocabulary,
    config: ModelConfig,
    *,
    validation: Sessions | None = None,
    start: WarmStart | None = None,
    checkpoint: CheckpointFile | None = None,
    replicas: Replicas | None = None,
    threads: int = 1,
    after_epoch: Callable[[int, Evaluation], None] = lambda epoch, scored: None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> TrainingResult:
    """Train a new network on `sessions`, in their order, for `config.epochs` passes.

    `start` is an earlier model to go on from. `validation` is evaluated after each epoch, for the
    curve, and `after_epoch` is told (the epoch, from 1, and what it reached). With `config.patience`
    it also says when to stop, and the best epoch's weights are kept; the newest tenth of the sessions
    is held out for it where none is given. `checkpoint` is taken up when it is there, and rewritten
    as the training goes. With `config.dwell_threshold_s` the sessions are boosted. `threads` share
    each product: more than one is faster on idle cores, and many times slower beside another busy
    process, which they then wait for. Raises NextclickError when no session has two known events, or
    when the loss is no number any more: the last checkpoint is then kept.
    """
    replicas = replicas or Replicas()
    if (sessions.items < 0).any():
        sessions = sessions.known()
    if not sessions.pairs:
        raise NextclickError(
            "no session has two events of known items",
            "There is no next event to learn from.",
            "Use a longer log, or check that its session column is the right one.",
        )
    if config.patience is not None and validation is None:
        sessions, validation = _held_out(sessions)
    if config.dwell_threshold_s is not None:
        sessions = sessions.boosted(config.dwell_threshold_s)
    keep_freed_memory()
    torch.manual_seed(config.seed)
    network = build(config, vocabulary)
    with _sharing_products(threads):
        if isinstance(network, GradientNetwork):
            training = Epochs(
                network, sessions, vocabulary, config, checkpoint, replicas, validation, start, after_epoch
            )
            result = training.run(progress)
        else:
            assert isinstance(network, CountingNetwork)
            started = time.perf_counter()
            network.fit(sessions, vocabulary, config)
            result = TrainingResult(network, events=sessions.pairs, seconds=time.perf_counter() - started)
    network.eval()
    return result


def _held_out(sessions: Sessions) -> tuple[Sessions, Sessions]:
    """The sessions without the newest tenth, and that tenth."""
    cut = len(sessions) - max(1, len(sessions) // HELD_OUT)
    earlier, later = sessions.between(0, cut), sessions.between(cut, len(sessions)).known()
    if not earlier.pairs or not later.pairs:
        raise NextclickError(
            f"{len(sessions):,} sessions are too few to hold the newest tenth of them out",
            "With patience, training stops by how it predicts sessions that it does not learn from.",
            "Use a longer log, or leave patience away.",
        )
    return earlier, later


@contextmanager
def _sharing_products(threads: int) -> Iterator[None]:
    """Let torch use so many threads for each product, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
