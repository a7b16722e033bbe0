"""A training as `nextclick train` runs it: going on from a version, resumable, evaluated beside POP.

Knows no registry and no terminal: who calls it saves the model and shows the figures.

Tested by tests/unit/replay/commands/test_train.py and tests/integration/test_command_line.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.splits import LogSplit, validation_of
from model.evaluation.rank_targets import Evaluation, rank_targets
from model.networks.baselines.pop import Pop
from model.networks.model_version import ModelVersion
from model.training.checkpoint import CheckpointFile, fingerprint
from model.training.run_options import RunOptions
from model.training.train import train
from model.training.trained_model import TrainedModel
from model.training.warm_start import WarmStart

VALIDATION_TARGETS = 20_000


@dataclass(frozen=True)
class JobScores:
    """A trained model on the test sessions, beside POP; `leaky` with boosted test sessions, if asked for."""

    model: Evaluation
    pop: Evaluation
    leaky: Evaluation | None = None

    def as_dict(self, trained: TrainedModel) -> dict[str, Any]:
        """What is saved beside the weights: these figures, and how the training went."""
        return {
            "evaluation": self.model.as_dict(),
            "pop": self.pop.as_dict(),
            **trained.scores(),
            **({} if self.leaky is None else {"leaky": self.leaky.as_dict()}),
        }


@dataclass(frozen=True)
class TrainingJob:
    """One version to be trained: its configuration, its log, and the earlier model that it goes on from."""

    config: ModelConfig
    log: LogSplit
    start: WarmStart | None = None
    start_version: str | None = None

    def going_on_from(self, earlier: ModelVersion, start: WarmStart) -> TrainingJob:
        """The same job, begun at a version's weights, with the version's items first in the vocabulary."""
        training, test, found = self.log
        vocabulary, renamed = found.grown_from(earlier.vocabulary)
        codes = vocabulary.features.renames_of(found.features)
        log = LogSplit(training.renamed(renamed, codes), test.renamed(renamed, codes), vocabulary)
        return TrainingJob(self.config, log, start, earlier.version)

    def checkpoint(self, folder: Path, every_batches: int, processes: int) -> CheckpointFile:
        """The checkpoint file of this very job: another configuration or log has another name."""
        training, _, vocabulary = self.log
        name = fingerprint(training, vocabulary, self.config, start=self.start_version, processes=processes)
        return CheckpointFile(folder / f".training-{name}", name, every_batches)

    def validation(self) -> Sessions | None:
        """About 20,000 next events to evaluate after each epoch.

        None where training is to stop early on a log split by session: the sessions that decide when it
        stops may not be the test's, so that `train` holds training sessions out.
        """
        test = self.log.test
        if test.is_target is not None:
            return validation_of(test).sample(VALIDATION_TARGETS)
        return test.sample(VALIDATION_TARGETS) if self.config.patience is None else None

    def train(self, run: RunOptions) -> TrainedModel:
        """Train, or go on from the checkpoint of `run`."""
        training, _, vocabulary = self.log
        return train(
            training, vocabulary, self.config, validation=self.validation(), start=self.start, run=run
        )

    def evaluate(
        self,
        trained: TrainedModel,
        *,
        all_items: bool = False,
        leaky: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> JobScores:
        """Rank the test sessions. With `all_items` unknown test items are misses; `leaky` boosts the test."""
        config, test = self.config, self.log.test
        masked = config.exclude_session_items
        popularity_V = self.log.vocabulary.counts if all_items else None
        model = rank_targets(
            trained.network, test, exclude_session_items=masked, popularity_V=popularity_V, progress=progress
        ).evaluation()
        leak = None
        if leaky:
            assert config.dwell_threshold_s is not None
            leak = rank_targets(trained.network, test.boosted(config.dwell_threshold_s)).evaluation()
        pop = rank_targets(
            Pop(self.log.vocabulary), test, exclude_session_items=masked, popularity_V=popularity_V
        ).evaluation()
        return JobScores(model, pop, leak)


def data_facts(training: Sessions) -> dict[str, int]:
    """What a manifest says of the events that a version learned from.

    >>> import numpy as np
    >>> one = Sessions(np.array([0, 2]), np.array([0, 1]), np.array([5, 9]), np.array(["s"]))
    >>> data_facts(one)
    {'events': 2, 'first_event_time_ms': 5, 'last_event_time_ms': 9}
    """
    return {
        "events": len(training.items),
        "first_event_time_ms": int(training.times_ms.min()),
        "last_event_time_ms": int(training.times_ms.max()),
    }
