"""A training as `nextclick train` runs it: going on from a version, resumable, evaluated beside POP.

Knows no registry and no terminal: the caller saves the model and shows the figures.

Tested by tests/unit/replay/commands/test_train.py and tests/integration/test_command_line.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from model.config import ModelConfig
from model.data.learned_events import LearnedEvents
from model.data.sessions import Sessions
from model.data.splits import LogSplit, hold_out, validation_of
from model.device import CPU
from model.errors import NextclickError
from model.evaluation.rank_targets import Evaluation, rank_targets
from model.evaluation.source_ranks import evaluate_sources
from model.networks.baselines.pop import Pop
from model.networks.by_name import places_by_title
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
    """One version to train: its configuration, its log, and the earlier model that it goes on from.

    `held_out` are sessions of the training part that decide when to stop.
    """

    config: ModelConfig
    log: LogSplit
    start: WarmStart | None = None
    start_version: str | None = None
    held_out: Sessions | None = None

    @classmethod
    def of(cls, config: ModelConfig, log: LogSplit) -> TrainingJob:
        """Returns the job of a log; with `config.patience` it holds a part of the training out."""
        if config.patience is None:
            return cls(config, log)
        held = hold_out(log, keep_titled=places_by_title(config))
        # To reach the last events of users means to step through all of theirs, after each epoch.
        by_user = log.test.is_target is not None
        held_out = held.validation.sample(VALIDATION_TARGETS) if by_user else held.validation
        return cls(config, held.log._replace(training=held.earlier), held_out=held_out)

    def going_on_from(self, earlier: ModelVersion, start: WarmStart) -> TrainingJob:
        """Returns the same job, started from a version's weights; its items come first in the vocabulary."""
        training, test, found = self.log
        vocabulary, renamed = found.grown_from(earlier.vocabulary)
        codes = vocabulary.features.renames_of(found.features)
        log = LogSplit(training.renamed(renamed, codes), test.renamed(renamed, codes), vocabulary)
        held_out = self.held_out and self.held_out.renamed(renamed, codes)
        return TrainingJob(self.config, log, start, earlier.version, held_out)

    @property
    def tested(self) -> Sessions:
        """The test sessions, with the targets that the configuration names."""
        return self.log.test.only_last() if self.config.targets == "last" else self.log.test

    def check_targets(self) -> None:
        """Raises NextclickError when the test part has no next event to rank, before anything is trained."""
        # Where nothing can be learned either, the training says so.
        if self.log.training.pairs and not self.tested.ranked:
            raise _without_targets()

    def checkpoint(self, folder: Path, every_batches: int, processes: int) -> CheckpointFile:
        """Returns this job's checkpoint file; another configuration or log has another name."""
        training, _, vocabulary = self.log
        name = fingerprint(training, vocabulary, self.config, start=self.start_version, processes=processes)
        return CheckpointFile(folder / f".training-{name}", name, every_batches)

    def validation(self) -> Sessions | None:
        """Returns about 20,000 next events to evaluate after each epoch.

        With early stopping these are never of the test part, which must not decide when training stops.
        """
        if self.held_out is not None:
            return self.held_out
        test = self.log.test
        return (test if test.is_target is None else validation_of(test)).sample(VALIDATION_TARGETS)

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
        device: torch.device = CPU,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> JobScores:
        """Rank the test sessions. `all_items` counts unknown items as misses; `leaky` boosts the test.

        The network is on `device` meanwhile, and on the CPU afterwards.

        Raises NextclickError when the test has no next event to rank: nothing says how good the model is.
        """
        config, test = self.config, self.tested
        masked = config.exclude_session_items
        popularity_V = self.log.vocabulary.counts if all_items else None
        trained.network.to(device)
        model = rank_targets(
            trained.network, test, exclude_session_items=masked, popularity_V=popularity_V, progress=progress
        ).evaluation()
        if not model.targets:
            raise _without_targets()
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
        trained.network.to(CPU)
        return JobScores(model, pop, leak, sources)


def _without_targets() -> NextclickError:
    return NextclickError(
        "no model can be evaluated: the evaluated part has no next event of a known item",
        "A version of unknown quality would become the champion; nothing was saved.",
        "Train on a longer log, or choose another --split, --test-fraction, --test-from or --session-gap-s.",
    )


def data_facts(training: Sessions, earlier: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Returns a manifest's description of the events that a version learned from.

    `earlier` are the data of the version that the training went on from, which is known to it too.

    >>> import numpy as np
    >>> one = Sessions(np.array([0, 2]), np.array([0, 1]), np.array([5, 9]), np.array(["s"]))
    >>> data_facts(one)
    {'events': 2, 'first_event_time_ms': 5, 'last_event_time_ms': 9}
    >>> data_facts(one, {"last_event_time_ms": 12})["learned_until_ms"]
    12
    """
    before_ms = LearnedEvents.of(earlier or {}).until_ms
    return {
        "events": len(training.items),
        "first_event_time_ms": int(training.times_ms.min()),
        "last_event_time_ms": int(training.times_ms.max()),
        **({} if before_ms is None else {"learned_until_ms": max(before_ms, int(training.times_ms.max()))}),
    }
