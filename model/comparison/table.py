"""A comparison as a table in Markdown, with what it counts and which of its figures say little.

Tested by tests/unit/model/comparison/test_comparison_table.py.
"""

from __future__ import annotations

from model.comparison.compare import FEWEST_SESSIONS, SPLITS, Comparison
from model.evaluation.intervals import Interval
from model.evaluation.metrics import K


def markdown(comparison: Comparison) -> str:
    """Returns the table as Markdown: intervals in brackets, differences to the first model in hundredths.

    >>> print(markdown(Comparison([], 4, 2, 1, all_items=False, split="shuffled")).splitlines()[1][:12])
    |---|---|---
    """
    head = [
        "model", "accuracy", "loss", "R@5", "R@10", "Recall@20", "MRR@20", "Δ Recall@20", "Δ MRR@20",
        "coverage", "popularity", "training s", "events/s", "parameters", "ms/step",
    ]  # fmt: skip
    has_vectors = any(row.mse is not None for row in comparison.rows)
    head += ["MSE", "MAE"] if has_vectors else []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in comparison.rows:
        cells = [
            row.name,
            f"{row.recall[1]:.4f}",
            _small(row.loss),
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
            *((_small(row.mse), _small(row.mae)) if has_vectors else ()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    unknown = "counted as missed" if comparison.all_items else "left out"
    lines += [
        "",
        SPLITS[comparison.split],
        f"{comparison.targets:,} next events of {comparison.sessions:,} sessions; "
        f"{comparison.unknown:,} events of items unknown to the training data {unknown}. "
        "In brackets: 95 % intervals, whole sessions resampled; Δ: difference to the first model, paired, "
        "in hundredths; accuracy: Recall@1; loss: cross-entropy over all items, of text-gru its own; "
        "events/s: of training.",
        *([] if comparison.counts is None else [str(comparison.counts)]),
        *warnings_of(comparison),
    ]
    return "\n".join(lines) + "\n"


def _as_points(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.hundredths():+.2f}"


def _small(interval: Interval | None) -> str:
    """A loss with its interval: errors of vectors are far below 1."""
    if interval is None:
        return "–"
    return f"{interval:.3f}" if interval.mean >= 1 else f"{interval:.5f}"


def warnings_of(comparison: Comparison) -> list[str]:
    """Returns a sentence for each measure that has figures of too few targets."""
    return [
        f"**Of too few targets to mean anything** (an interval wider than half the value, or fewer than "
        f"{FEWEST_SESSIONS} sequences): {measure} of {', '.join(names)}."
        for measure, names in comparison.saying_little.items()
    ]
