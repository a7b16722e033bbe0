"""Several models on the same sessions: one row each, with intervals and the difference to the first.

Every model is trained on the same part of the log and ranks the same targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bootstrap import Interval, resampled_means
from model.config import ModelConfig
from model.errors import NextclickError
from model.evaluate import Ranks, rank_targets
from model.metrics import is_hit, reciprocal_ranks
from model.sessions import Sessions
from model.train import Progress, train
from model.vocabulary import Vocabulary

K = 20
RECALL_AT = (1, 5, 10, 20)


@dataclass(frozen=True)
class Row:
    """What is known of one model.

    `recall` is Recall@k by k, `mrr` MRR@20, both with intervals; the differences are to the
    first model (None for itself). `coverage` is the share of items that were in any list,
    `popularity` the mean of the listed items' training counts as a share of the largest.
    `ms_per_step` is the time of step and list per event, in batches of 128 sessions.
    """

    name: str
    config: dict[str, Any]
    recall: dict[int, Interval]
    mrr: Interval
    recall_difference: Interval | None
    mrr_difference: Interval | None
    coverage: float
    popularity: float
    training_seconds: float
    ms_per_step: float


@dataclass(frozen=True)
class Comparison:
    """Rows in the order asked for; how many targets and sessions they are of; events left out as unknown."""

    rows: list[Row]
    targets: int
    sessions: int
    unknown: int
    all_items: bool

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def compare(
    configs: Mapping[str, ModelConfig],
    training: Sessions,
    test: Sessions,
    vocabulary: Vocabulary,
    *,
    all_items: bool = False,
    progress: Callable[[str, Progress | None], None] = lambda name, training: None,
) -> Comparison:
    """Train each named configuration on `training`, rank the targets of `test`, and compare.

    `all_items` counts events of unknown items as missed targets instead of leaving them out.
    `progress` gets the model's name with its training, then with None while it is evaluated.
    Raises NextclickError when there is no target.
    """
    ranks: dict[str, Ranks] = {}
    seconds: dict[str, float] = {}
    for name, config in configs.items():
        result = train(training, vocabulary, config, progress=lambda p, name=name: progress(name, p))  # type: ignore[misc]
        seconds[name] = result.seconds
        progress(name, None)
        ranks[name] = rank_targets(
            result.network,
            test,
            k=K,
            exclude_session_items=config.exclude_session_items,
            lists=True,
            popularity_V=vocabulary.counts if all_items else None,
        )
    first = next(iter(ranks.values()))
    if not len(first.ranks):
        raise NextclickError(
            f"the test sessions have no next event of a known item ({first.unknown:,} unknown events)",
            "There is nothing to compare the models by.",
            "Test on a later part of the same log, or with --items all.",
        )
    rows = _rows(configs, ranks, seconds, vocabulary)
    return Comparison(rows, len(first.ranks), first.session_count, first.unknown, all_items)


def _rows(
    configs: Mapping[str, ModelConfig],
    ranks: Mapping[str, Ranks],
    seconds: Mapping[str, float],
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
                recall_difference=difference(f"recall@{K}", m),
                mrr_difference=difference("mrr", m),
                coverage=float((listed_V > 0).mean()),
                popularity=float(
                    (listed_V * vocabulary.counts).sum() / max(1, listed_V.sum()) / vocabulary.counts.max()
                ),
                training_seconds=seconds[name],
                ms_per_step=1000 * ranked.seconds / max(1, len(ranked.ranks)),
            )
        )
    return rows


def per_session(
    ranked: Ranks, measure: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """A measure of the ranks, added up by session, S."""
    sums = np.bincount(ranked.sessions, measure(ranked.ranks), ranked.session_count)
    return sums.astype(np.float64)


def markdown(comparison: Comparison) -> str:
    """The table as Markdown, intervals in brackets, differences to the first model in points of 100."""
    head = [
        "model", "R@1", "R@5", "R@10", "Recall@20", "MRR@20", "Δ Recall@20", "Δ MRR@20",
        "coverage", "popularity", "training s", "ms/step",
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in comparison.rows:
        cells = [
            row.name,
            *(f"{row.recall[k].mean:.4f}" for k in (1, 5, 10)),
            f"{row.recall[K]:.4f}",
            f"{row.mrr:.4f}",
            _as_points(row.recall_difference),
            _as_points(row.mrr_difference),
            f"{row.coverage:.3f}",
            f"{row.popularity:.3f}",
            f"{row.training_seconds:.1f}",
            f"{row.ms_per_step:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    unknown = "counted as missed" if comparison.all_items else "left out"
    lines += [
        "",
        f"{comparison.targets:,} next events of {comparison.sessions:,} sessions; "
        f"{comparison.unknown:,} events of items unknown to the training data {unknown}. "
        "In brackets: 95 % intervals, whole sessions resampled; Δ: difference to the first model, paired, "
        "in hundredths.",
    ]
    return "\n".join(lines) + "\n"


def _as_points(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.hundredths():+.2f}"
