"""Several models on the same sessions: one row each, with intervals and the difference to the first.

Every model is trained on the same part of the log and ranks the same targets. Accuracy is Recall@1.

Tested by tests/unit/model/evaluation/test_rank_targets.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.comparison.counts import Counts
from model.config import ModelConfig
from model.data.splits import LogSplit, hold_out
from model.data.vocabulary import Vocabulary
from model.device import CPU
from model.errors import NextclickError
from model.evaluation.intervals import Interval, resampled_means
from model.evaluation.metrics import K, is_hit, reciprocal_ranks
from model.evaluation.rank_targets import Evaluation, Measures, Ranks, rank_targets
from model.networks.by_name import constructor
from model.training.train import Progress, RunOptions, train
from model.training.trained_model import TrainedModel

# Fewer sequences than this have no interval to speak of: the same few are drawn again and again.
FEWEST_SESSIONS = 30
RECALL_AT = (1, 5, 10, 20)
SPLITS = {
    "temporal": "Split by time: every test session begins after the training ones.",
    "shuffled": "Split by chance: test sessions are of the same days as the training ones, which is easier "
    "than what serving meets.",
    "given": "Test sessions from files of their own.",
    "shuffled-users": "Split by chance among users: whole sequences of users are evaluated, of the same days "
    "as the training ones.",
    "user": "Split by user: of each user the newest twentieth is evaluated; training may hold later "
    "events of others.",
}


@dataclass(frozen=True)
class Row:
    """The figures of one model.

    `recall` is Recall@k by k, `mrr` MRR@20, `loss` the mean cross-entropy over all items (None for a
    network without a softmax), all with intervals. A network that predicts vectors has its own loss, and
    `mse` and `mae` over the columns of the vectors. The differences are to the first model (None for the
    first model). `coverage` is the share of items that were in any list; `popularity` is the mean of the
    listed items' training counts, as a share of the largest count. `ms_per_step` is the time of step and
    list per event, in batches of 128 sessions. `losses` and `validation` have one
    entry per epoch. `parameters` counts the numbers that gradients learn;
    `events_per_s` is the training speed (None without parameters).
    """

    name: str
    config: dict[str, Any]
    recall: dict[int, Interval]
    mrr: Interval
    loss: Interval | None
    recall_difference: Interval | None
    mrr_difference: Interval | None
    coverage: float
    popularity: float
    training_seconds: float
    events_per_s: float | None
    parameters: int
    ms_per_step: float
    mse: Interval | None = None
    mae: Interval | None = None
    losses: list[float] = field(default_factory=list)
    validation: list[Evaluation] = field(default_factory=list)


@dataclass(frozen=True)
class Cost:
    """Time, events and parameters of a training, and its course by epoch, without its network."""

    seconds: float
    events: int
    parameters: int
    losses: list[float]
    validation: list[Evaluation]

    @classmethod
    def of(cls, result: TrainedModel) -> Cost:
        """Returns the cost of a finished training."""
        learned = [p for p in result.network.parameters() if p.requires_grad]
        parameters = sum(p.numel() for p in learned)
        return cls(result.seconds, result.events, parameters, result.losses, result.validation)


@dataclass(frozen=True)
class Comparison:
    """Rows in the given order, the targets and sessions behind them, and the events of unknown items.

    `split`, one of SPLITS, says where the test sessions come from.
    """

    rows: list[Row]
    targets: int
    sessions: int
    unknown: int
    all_items: bool
    split: str
    counts: Counts | None = None

    @property
    def saying_little(self) -> dict[str, list[str]]:
        """By measure the models whose figure is of too few targets: an interval wider than half of it."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            for measure, interval in ((f"Recall@{K}", row.recall[K]), (f"MRR@{K}", row.mrr)):
                if interval.says_little or self.sessions < FEWEST_SESSIONS:
                    found.setdefault(measure, []).append(row.name)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, for JSON."""
        return {**asdict(self), "saying_little": self.saying_little}


def compare(
    configs: Mapping[str, ModelConfig],
    log: LogSplit,
    *,
    all_items: bool = False,
    split: str = "given",
    device: torch.device = CPU,
    progress: Callable[[str, Progress | None], None] = lambda name, training: None,
) -> Comparison:
    """Train each named configuration on the log's training part, rank its test part, and compare.

    Models with `patience` hold out what `hold_out` does; what no model of them learned is unknown to all.
    `all_items` counts events of unknown items as missed targets instead of leaving them out.
    `split`, one of SPLITS, says where the test sessions come from. Networks are trained and evaluated on
    `device`. `progress` gets the model's
    name with its training, then with None while the model is evaluated. Raises NextclickError
    without a target, or for an unknown network.

    >>> from model.data.sessions import Sessions
    >>> two = Sessions(np.array([0, 2, 4]), np.array([0, 1, 0, 1]), np.arange(4), np.array(["s", "t"]))
    >>> log = LogSplit(two, two, Vocabulary(["a", "b"], np.array([2, 2])))
    >>> [row.name for row in compare({"pop": ModelConfig(network="pop")}, log).rows]
    ['pop']
    """
    for config in configs.values():
        constructor(config.network)
    if len({config.targets for config in configs.values()}) > 1:
        raise NextclickError(
            "the models have different targets: some count all steps of a sequence, some its last one",
            "Their figures would be of different next events.",
            "Set targets to all or to last for all of them: --set targets=last.",
        )
    held = hold_out(log) if any(config.patience is not None for config in configs.values()) else None
    training, test, vocabulary = held.log if held else log
    held_out = 0 if held is None or log.test.is_target is not None else training.pairs - held.earlier.pairs
    if any(config.targets == "last" for config in configs.values()):
        test = test.only_last()
    if not all_items and not test.ranked:
        raise _without_targets(int(((test.items < 0) & test.counted).sum()))
    ranks: dict[str, Ranks] = {}
    costs: dict[str, Cost] = {}
    for name, config in configs.items():
        stops_early = held is not None and config.patience is not None
        result = train(
            held.earlier if held and stops_early else training,
            vocabulary,
            config,
            validation=held.validation if held and stops_early else None,
            run=RunOptions(progress=functools.partial(progress, name), device=device),
        )
        costs[name] = Cost.of(result)
        progress(name, None)
        ranks[name] = rank_targets(
            result.network.to(device),
            test,
            exclude_session_items=config.exclude_session_items,
            popularity_V=vocabulary.counts if all_items else None,
            measures=Measures(lists=True),
        )
    first = next(iter(ranks.values()))
    if not len(first.ranks):
        raise _without_targets(first.unknown)
    rows = _rows(configs, ranks, costs, vocabulary)
    counts = Counts.of(LogSplit(training, test, vocabulary), first, held_out=held_out, all_items=all_items)
    return Comparison(rows, len(first.ranks), first.scored_sessions, first.unknown, all_items, split, counts)


def _without_targets(unknown: int) -> NextclickError:
    return NextclickError(
        f"the test sessions have no next event of a known item ({unknown:,} unknown events)",
        "There is nothing to compare the models by.",
        "Test on a later part of the same log, or with --items all.",
    )


def _rows(
    configs: Mapping[str, ModelConfig],
    ranks: Mapping[str, Ranks],
    costs: Mapping[str, Cost],
    vocabulary: Vocabulary,
) -> list[Row]:
    counts_S = per_session(next(iter(ranks.values())), lambda ranks: np.ones(len(ranks)))
    measures: dict[str, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]] = {
        f"recall@{k}": lambda ranks, k=k: is_hit(ranks, k).astype(float)  # type: ignore[misc]
        for k in RECALL_AT
    }
    measures["mrr"] = lambda ranks: reciprocal_ranks(ranks, K)
    means: dict[str, npt.NDArray[np.float64]] = {}
    draws: dict[str, npt.NDArray[np.float64]] = {}
    for name, measure in measures.items():
        sums_MS = np.stack([per_session(model, measure) for model in ranks.values()])
        means[name] = sums_MS.sum(1) / counts_S.sum()
        draws[name] = resampled_means(sums_MS, counts_S)

    def interval(measure: str, model: int) -> Interval:
        return Interval.of(means[measure][model], draws[measure][model])

    def difference(measure: str, model: int) -> Interval | None:
        if not model:
            return None
        mean, draw = means[measure], draws[measure]
        return Interval.of(mean[model] - mean[0], draw[model] - draw[0])

    rows = []
    for m, (name, ranked) in enumerate(ranks.items()):
        listed_V, errors = ranked.listed_V, ranked.errors
        rows.append(
            Row(
                name=name,
                config=configs[name].model_dump(exclude_defaults=True),
                recall={k: interval(f"recall@{k}", m) for k in RECALL_AT},
                mrr=interval("mrr", m),
                loss=_mean_of(ranked, ranked.losses if errors is None else errors.loss_N),
                recall_difference=difference(f"recall@{K}", m),
                mrr_difference=difference("mrr", m),
                coverage=float((listed_V > 0).mean()),
                popularity=float(
                    (listed_V * vocabulary.counts).sum() / max(1, listed_V.sum()) / vocabulary.counts.max()
                ),
                training_seconds=costs[name].seconds,
                events_per_s=costs[name].events / costs[name].seconds if costs[name].parameters else None,
                parameters=costs[name].parameters,
                ms_per_step=1000 * ranked.seconds / max(1, len(ranked.ranks)),
                mse=None if errors is None else _mean_of(ranked, errors.square_N),
                losses=costs[name].losses,
                validation=costs[name].validation,
                mae=None if errors is None else _mean_of(ranked, errors.absolute_N),
            )
        )
    return rows


def _mean_of(ranked: Ranks, values_N: npt.NDArray[np.float32] | None) -> Interval | None:
    """The mean of what the scored targets have; they come first. A value that is not a number counts not."""
    if values_N is None or np.isnan(values_N).all():
        return None
    # Only scored targets have a loss: an unknown item has no probability.
    is_known = ~np.isnan(values_N)
    sessions = ranked.sessions[: len(values_N)][is_known]
    sums_S = np.bincount(sessions, values_N[is_known], ranked.session_count).astype(np.float64)
    counts_S = np.bincount(sessions, minlength=ranked.session_count).astype(np.float64)
    return Interval.of(float(sums_S.sum() / counts_S.sum()), resampled_means(sums_S[None], counts_S)[0])


def per_session(
    ranked: Ranks, measure: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """Returns a measure of the ranks, added up by session, S."""
    sums = np.bincount(ranked.sessions, measure(ranked.ranks), ranked.session_count)
    return sums.astype(np.float64)
