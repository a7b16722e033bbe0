"""The versions of a study: the first is trained on the beginning of the log, the others go on from it.

Tested by tests/unit/replay/cadence/test_run_cadence.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.fused.fused_list import FusedList
from model.networks.network import GradientNetwork
from model.training.train import Progress, RunOptions, TrainedModel, train
from model.training.warm_start import WarmStart
from replay.cadence.study_log import StudyLog

COUNTED_MS = 48 * 3_600_000  # of the log, that the sources of a fused list count at each training


@dataclass(frozen=True)
class Version:
    """A network trained on the events before `trained_ms`, with the `known` items of that time.

    `fused` is the fused list around it, if there is one.
    """

    network: GradientNetwork
    start: WarmStart
    trained_ms: int
    known: int
    fused: FusedList | None = None

    @property
    def counts_V(self) -> npt.NDArray[np.int64]:
        """How often each known item came in the events of the last training."""
        return self.start.vocabulary.counts


class Trainer:
    """Trains the versions of a log: the first on all events before `from_ms`, each other on those since.

    The sources of a fused list count the last `COUNTED_MS`, as the window of a retraining would have them.
    `events` and `seconds` add up what all trainings took.
    """

    def __init__(
        self, log: StudyLog, config: ModelConfig, progress: Callable[[Progress], None] = lambda p: None
    ) -> None:
        self.log, self.config = log, config
        self.events, self.seconds = 0, 0.0
        self.first = self._train(log.window(0, log.from_ms), None, log.from_ms, progress)
        self.first_cost = (self.events, self.seconds)

    def next(self, before: Version, tick_ms: int) -> Version | None:
        """The version of `tick_ms`, which goes on from `before`; None when there is nothing to learn."""
        window = self.log.window(before.trained_ms, tick_ms)
        return self._train(window, before.start, tick_ms) if window.pairs else None

    def _train(
        self,
        window: Sessions,
        start: WarmStart | None,
        tick_ms: int,
        progress: Callable[[Progress], None] = lambda p: None,
    ) -> Version:
        known = self.log.known_at(tick_ms)
        counts = np.bincount(window.items, minlength=known)
        vocabulary = Vocabulary(self.log.vocabulary.decode(np.arange(known)), counts)
        counted = None
        if self.config.network == "fused":
            counted = self.log.window(tick_ms - COUNTED_MS, tick_ms)
        result = train(
            window,
            vocabulary,
            self.config,
            start=start,
            run=RunOptions(progress=progress),
            counted=counted,
        )
        self.events, self.seconds = self.events + result.events, self.seconds + result.seconds
        return _version(result, tick_ms)


def _version(result: TrainedModel, trained_ms: int) -> Version:
    fused = result.network if isinstance(result.network, FusedList) else None
    network = result.network if fused is None else fused.network
    if not isinstance(network, GradientNetwork):
        raise NextclickError(
            f"a {type(network).__name__} is no network that learns by gradients",
            "A cadence goes on from the version before, and keeps its item tables fresh.",
            "Name a network that learns by gradients, such as gru4rec, or fused.",
        )
    start = replace(result.warm_start(), learned_until_ms=trained_ms - 1)
    return Version(network, start, trained_ms, len(result.vocabulary), fused)
