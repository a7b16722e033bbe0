"""A training as `nextclick train` runs it: going on from a version, resumable, evaluated beside POP.

Knows no registry and no terminal: the caller saves the model and shows the figures.

Tested by tests/unit/replay/commands/test_train.py and tests/integration/test_command_line.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.splits import LogSplit, validation_of
from model.errors import NextclickError
from model.evaluation.rank_targets import Evaluation, rank_targets
from model.evaluation.source_ranks import evaluate_sources
from model.networks.baselines.pop import Pop
from model.networks.fused.fused_list import FusedList
from model.networks.model_version import ModelVersion
from model.training.checkpoint import CheckpointFile, fingerprint
from model.training.run_options import RunOptions
from model.training.train import train
from model.training.trained_model import TrainedModel
from model.training.warm_start import WarmStart

VALIDATION_TARGETS = 20_000


@dataclass(frozen=True)
class JobScores:
    """A trained model on the test sessions, beside POP; `leaky` is on boosted test sessions, if wanted.

    `sources` are the sources of a fused list, each alone, on events of known items.
    """

    model: Evaluation
    pop: Evaluation
    leaky: Evaluation | None = None
    sources: dict[str, Evaluation] = field(default_factory=dict)

    def as_dict(self, trained: TrainedModel) -> dict[str, Any]:
        """Returns the figures to save beside the weights: these scores, and the training's course."""
        return {
            "evaluation": self.model.as_dict(),
            "pop": self.pop.as_dict(),
            **trained.scores(),
            **({} if self.leaky is None else {"leaky": self.leaky.as_dict()}),
            **({"sources": {n: s.as_dict() for n, s in self.sources.items()}} if self.sources else {}),
        }


@dataclass(frozen=True)
class TrainingJob:
    """One version to train: its configuration, its log, and the earlier model that it goes on from."""

    config: ModelConfig
    log: LogSplit
    start: WarmStart | None = None
    start_version: str | None = None

    def going_on_from(self, earlier: ModelVersion, start: WarmStart) -> TrainingJob:
        """Returns the same job, started from a version's weights; its items come first in the vocabulary."""
        training, test, found = self.log
        vocabulary, renamed = found.grown_from(earlier.vocabulary)
        codes = vocabulary.features.renames_of(found.features)
        log = LogSplit(training.renamed(renamed, codes), test.renamed(renamed, codes), vocabulary)
        return TrainingJob(self.config, log, start, earlier.version)

    def checkpoint(self, folder: Path, every_batches: int, processes: int) -> CheckpointFile:
        """Returns this job's checkpoint file; another configuration or log has another name."""
        training, _, vocabulary = self.log
        name = fingerprint(training, vocabulary, self.config, start=self.start_version, processes=processes)
        return CheckpointFile(folder / f".training-{name}", name, every_batches)

    def validation(self) -> Sessions | None:
        """Returns about 20,000 next events to evaluate after each epoch.

        Returns None for early stopping on a log split by session: test sessions must not decide when
        training stops, so `train` holds out training sessions instead.
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
        """Rank the test sessions. `all_items` counts unknown items as misses; `leaky` boosts the test.

        Raises NextclickError when the test has no next event to rank: nothing says how good the model is.
        """
        config, test = self.config, self.log.test
        masked = config.exclude_session_items
        popularity_V = self.log.vocabulary.counts if all_items else None
        model = rank_targets(
            trained.network, test, exclude_session_items=masked, popularity_V=popularity_V, progress=progress
        ).evaluation()
        if not model.targets:
            raise NextclickError(
                "the trained model cannot be evaluated: the evaluated part has no next event of a known item",
                "A version of unknown quality would become the champion; nothing was saved.",
                "Train on a longer log, or choose another --test-fraction, --test-from or --session-gap-s.",
            )
        leak = None
        if leaky:
            assert config.dwell_threshold_s is not None
            leak = rank_targets(trained.network, test.boosted(config.dwell_threshold_s)).evaluation()
        pop = rank_targets(
            Pop(self.log.vocabulary), test, exclude_session_items=masked, popularity_V=popularity_V
        ).evaluation()
        sources = {}
        if isinstance(trained.network, FusedList):
            sources = evaluate_sources(trained.network, test, exclude_session_items=masked)
        return JobScores(model, pop, leak, sources)


def data_facts(training: Sessions) -> dict[str, int]:
    """Returns a manifest's description of the events that a version learned from.

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
