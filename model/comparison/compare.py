"""Several models on the same sessions: one row each, with intervals and the difference to the first.

Every model is trained on the same part of the log and ranks the same targets. Accuracy is Recall@1.

Tested by tests/unit/model/evaluation/test_rank_targets.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.config import ModelConfig
from model.data.splits import LogSplit, hold_out
from model.data.vocabulary import Vocabulary
from model.device import CPU
from model.errors import NextclickError
from model.evaluation.intervals import Interval, resampled_means
from model.evaluation.metrics import K, is_hit, reciprocal_ranks
from model.evaluation.rank_targets import Measures, Ranks, rank_targets
from model.networks.by_name import constructor
from model.training.train import Progress, RunOptions, train
from model.training.trained_model import TrainedModel

RECALL_AT = (1, 5, 10, 20)
SPLITS = {
    "temporal": "Split by time: every test session begins after the training ones.",
    "shuffled": "Split by chance: test sessions are of the same days as the training ones, which is easier "
    "than what serving meets.",
    "given": "Test sessions from files of their own.",
    "user": "Split by user: of each user the newest twentieth is evaluated; training may hold later "
    "events of others.",
}


@dataclass(frozen=True)
class Row:
    """The figures of one model.

    `recall` is Recall@k by k, `mrr` MRR@20, `loss` the mean cross-entropy over all items (None for a
    network without a softmax), all with intervals. The differences are to the first model (None for the
    first model). `coverage` is the share of items that were in any list; `popularity` is the mean of the
    listed items' training counts, as a share of the largest count. `ms_per_step` is the time of step and
    list per event, in batches of 128 sessions. `parameters` counts the numbers that gradients learn;
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


@dataclass(frozen=True)
class Cost:
    """Time, events and parameters of a training, without its network."""

    seconds: float
    events: int
    parameters: int

    @classmethod
    def of(cls, result: TrainedModel) -> Cost:
        """Returns the cost of a finished training."""
        learned = [p for p in result.network.parameters() if p.requires_grad]
        return cls(result.seconds, result.events, sum(p.numel() for p in learned))


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

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, for JSON."""
        return asdict(self)


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
    held = hold_out(log) if any(config.patience is not None for config in configs.values()) else None
    training, test, vocabulary = held.log if held else log
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
        raise NextclickError(
            f"the test sessions have no next event of a known item ({first.unknown:,} unknown events)",
            "There is nothing to compare the models by.",
            "Test on a later part of the same log, or with --items all.",
        )
    rows = _rows(configs, ranks, costs, vocabulary)
    return Comparison(rows, len(first.ranks), first.scored_sessions, first.unknown, all_items, split)


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
        listed_V = ranked.listed_V
        rows.append(
            Row(
                name=name,
                config=configs[name].model_dump(exclude_defaults=True),
                recall={k: interval(f"recall@{k}", m) for k in RECALL_AT},
                mrr=interval("mrr", m),
                loss=_loss(ranked),
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
            )
        )
    return rows


def _loss(ranked: Ranks) -> Interval | None:
    if ranked.losses is None or not len(ranked.losses):
        return None
    # Only scored targets have a loss: an unknown item has no probability.
    sessions = ranked.sessions[: len(ranked.losses)]
    sums_S = np.bincount(sessions, ranked.losses, ranked.session_count).astype(np.float64)
    counts_S = np.bincount(sessions, minlength=ranked.session_count).astype(np.float64)
    return Interval.of(float(sums_S.sum() / counts_S.sum()), resampled_means(sums_S[None], counts_S)[0])


def per_session(
    ranked: Ranks, measure: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """Returns a measure of the ranks, added up by session, S."""
    sums = np.bincount(ranked.sessions, measure(ranked.ranks), ranked.session_count)
    return sums.astype(np.float64)


def markdown(comparison: Comparison) -> str:
    """Returns the table as Markdown: intervals in brackets, differences to the first model in hundredths.

    >>> print(markdown(Comparison([], 4, 2, 1, all_items=False, split="shuffled")).splitlines()[1][:12])
    |---|---|---
    """
    head = [
        "model", "accuracy", "loss", "R@5", "R@10", "Recall@20", "MRR@20", "Δ Recall@20", "Δ MRR@20",
        "coverage", "popularity", "training s", "events/s", "parameters", "ms/step",
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in comparison.rows:
        cells = [
            row.name,
            f"{row.recall[1]:.4f}",
            "–" if row.loss is None else f"{row.loss:.3f}",
            *(f"{row.recall[k].mean:.4f}" for k in (5, 10)),
            f"{row.recall[K]:.4f}",
            f"{row.mrr:.4f}",
            _as_points(row.recall_difference),
            _as_points(row.mrr_difference),
            f"{row.coverage:.3f}",
            f"{row.popularity:.3f}",
            f"{row.training_seconds:.1f}",
            f"{row.events_per_s:,.0f}" if row.events_per_s else "–",
            f"{row.parameters:,}" if row.parameters else "–",
            f"{row.ms_per_step:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    unknown = "counted as missed" if comparison.all_items else "left out"
    lines += [
        "",
        SPLITS[comparison.split],
        f"{comparison.targets:,} next events of {comparison.sessions:,} sessions; "
        f"{comparison.unknown:,} events of items unknown to the training data {unknown}. "
        "In brackets: 95 % intervals, whole sessions resampled; Δ: difference to the first model, paired, "
        "in hundredths; accuracy: Recall@1; loss: cross-entropy over all items; "
        "events/s: of training.",
    ]
    return "\n".join(lines) + "\n"


def _as_points(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.hundredths():+.2f}"
