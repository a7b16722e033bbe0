"""A challenger: goes on from the champion with a window of newer events, judged by the newest of them.

A time cuts the window. The challenger learns the events before the cut. Champion, challenger, POP and
transitions are evaluated on the sessions that begin after the cut; none of them knows an event from the
cut on. A fused challenger stands beside each of its sources, too. After the gate accepts the challenger,
`finished` learns the held-out events too: where items age in hours, a version without the newest tenth of
its window would be old when it begins to serve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from model.comparison.gate import Contender
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import Measures, rank_targets
from model.evaluation.source_ranks import rank_by_source
from model.evaluation.step_time import step_times_ms
from model.networks.baselines.pop import Pop
from model.networks.fused.fused_list import FusedList
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork, Network
from model.training.fused_training import go_on
from model.training.run_options import RunOptions
from model.training.train import train
from model.training.trained_model import TrainedModel
from model.training.training_data import TrainingData
from model.training.warm_start import WarmStart

SAMPLED_TARGETS = 5_000
Notify = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Split:
    """A window of the log, cut at `split_ms`.

    `earlier` are the events before the cut, `rest` the events from the cut on. The sessions that begin at
    the cut or later are evaluated.
    """

    frame: pd.DataFrame
    split_ms: int

    @property
    def earlier(self) -> pd.DataFrame:
        """The events to learn from before the gate."""
        return self.frame[self.frame["event_time_ms"] < self.split_ms]

    @property
    def rest(self) -> pd.DataFrame:
        """The events from the cut on."""
        return self.frame[self.frame["event_time_ms"] >= self.split_ms]

    def evaluated(self, vocabulary: Vocabulary, rule: SessionRule) -> Sessions:
        """Returns the sessions that begin at the cut or later, in a model's indices, unknown items -1."""
        reaching = self.frame["session_id"].isin(self.rest["session_id"].unique())
        sessions = Sessions.from_frame(self.frame[reaching], vocabulary, rule)
        return sessions.select(np.flatnonzero(sessions.times_ms[sessions.offsets[:-1]] >= self.split_ms))


def split_newest(frame: pd.DataFrame, fraction: float, after_ms: int | None) -> Split:
    """Cut off the newest `fraction` of the events, but only events later than `after_ms`.

    `after_ms` is the time of the last event that the champion learned from. Raises NextclickError when
    one side is empty.

    >>> log = pd.DataFrame({"event_time_ms": [10, 20, 30, 40]})
    >>> split_newest(log, 0.25, after_ms=None).split_ms
    40
    """
    times_ms = frame["event_time_ms"].to_numpy()
    place = min(len(times_ms) - 1, int(len(times_ms) * (1 - fraction)))
    split_ms = int(np.partition(times_ms, place)[place])
    if after_ms is not None:
        split_ms = max(split_ms, after_ms + 1)
    before = int((times_ms < split_ms).sum())
    if not 0 < before < len(times_ms):
        raise NextclickError(
            f"of {len(times_ms):,} events {before:,} lie before "
            f"{pd.Timestamp(split_ms, unit='ms', tz='UTC')}, from which on they are held out",
            "There have to be some to learn from, and some that the champion has not seen.",
            "Wait for more events, or name a longer window.",
        )
    return Split(frame, split_ms)


def challenge(
    split: Split,
    config: ModelConfig,
    *,
    champion: Vocabulary | None = None,
    start: WarmStart | None = None,
    run: RunOptions | None = None,
) -> TrainedModel:
    """Train on the events before the cut, going on from `start`.

    The vocabulary is the champion's, grown by the new items. Raises NextclickError as `train` does.
    """
    data = TrainingData.from_frame(split.earlier, config, earlier=champion)
    return train(data.sessions, data.vocabulary, config, start=start, run=run)


def finished(
    challenger: TrainedModel,
    split: Split,
    *,
    run: RunOptions | None = None,
) -> TrainedModel:
    """Let the challenger learn the held-out events too. Returns the model to serve.

    A gradient network goes on with the held-out events alone; a counting network is fitted anew to all
    events. In a fused list both are done; its ranker stays.
    """
    goes_on = isinstance(challenger.network, GradientNetwork)
    if isinstance(challenger.network, FusedList):
        rest, whole = (
            TrainingData.from_frame(
                frame, challenger.config, counted=split.frame, earlier=challenger.vocabulary
            )
            for frame in (split.rest, split.frame)
        )
        return go_on(challenger, rest, whole.sessions, run or RunOptions())
    data = TrainingData.from_frame(
        split.rest if goes_on else split.frame,
        challenger.config,
        counted=split.frame,
        earlier=challenger.vocabulary,
    )
    start = challenger.warm_start() if goes_on else None
    return train(data.sessions, data.vocabulary, challenger.config, start=start, run=run)


def contenders(
    challenger: TrainedModel,
    champion: ModelVersion | None,
    split: Split,
    *,
    notify: Notify = lambda done, total, text: None,
) -> tuple[Contender, Contender | None, list[Contender]]:
    """Rank the evaluated sessions with all models. Returns challenger, champion, [POP, transitions].

    POP and transitions learn the challenger's events. All are held to the challenger's sessions, also a
    champion that was trained with another session gap. An item that a model does not know is a missed
    target. After them come the sources of a fused challenger, each alone.
    """
    config, vocabulary = challenger.config, challenger.vocabulary
    rule = SessionRule(config.session_gap_s)
    sessions = split.evaluated(vocabulary, rule)
    learned = Sessions.from_frame(split.earlier, vocabulary, rule)
    transitions = train(learned, vocabulary, config.model_copy(update={"network": "transitions"}))
    entered: list[tuple[str, Network, Vocabulary, Sessions]] = [
        ("challenger", challenger.network, vocabulary, sessions),
        ("POP", Pop(vocabulary), vocabulary, sessions),
        ("transitions", transitions.network, vocabulary, sessions),
    ]
    times_ms: list[float | None] = [None] * 4
    if champion is not None:
        of_champion = split.evaluated(champion.vocabulary, rule)
        entered.append(("champion", champion.network, champion.vocabulary, of_champion))
        timed = step_times_ms([(challenger.network, sessions), (champion.network, of_champion)])
        times_ms[0], times_ms[3] = timed
    sources: list[Contender] = []
    if isinstance(challenger.network, FusedList):
        by_source = rank_by_source(
            challenger.network,
            sessions,
            exclude_session_items=config.exclude_session_items,
            popularity_V=vocabulary.counts,
        )
        sources = [Contender(f"{name} alone", ranks, is_source=True) for name, ranks in by_source.items()]
    ranked = []
    for (name, network, known, targets), step_ms in zip(entered, times_ms, strict=False):
        ranks = rank_targets(
            network,
            targets,
            exclude_session_items=config.exclude_session_items,
            popularity_V=known.counts,
            measures=Measures(losses=False),
            progress=lambda done, total, name=name: notify(done, total, name),  # type: ignore[misc]
        )
        not_finite = challenger.not_finite if network is challenger.network else []
        ranked.append(Contender(name, ranks, step_ms, not_finite))
    return ranked[0], ranked[3] if champion is not None else None, [*ranked[1:3], *sources]


def recalls_of(challengers: Sequence[TrainedModel], split: Split) -> list[float]:
    """Returns each challenger's Recall@20 on the same sample of the evaluated sessions.

    Unknown items are missed targets.
    """
    recalls = []
    for challenger in challengers:
        sessions = split.evaluated(challenger.vocabulary, SessionRule(challenger.config.session_gap_s))
        ranks = rank_targets(
            challenger.network,
            sessions.sample(SAMPLED_TARGETS),
            exclude_session_items=challenger.config.exclude_session_items,
            popularity_V=challenger.vocabulary.counts,
            measures=Measures(losses=False),
        )
        recalls.append(ranks.evaluation().recall)
    return recalls
