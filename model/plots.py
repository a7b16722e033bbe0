"""The pictures: a training's curves, and models beside each other. Drawn to PNG without a display."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from matplotlib.figure import Figure

from model.compare import Comparison, K
from model.evaluate import Evaluation

BLUE, ORANGE, GREY = "#2563eb", "#d97706", "#6b7280"


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    # Without the version and date that matplotlib adds, the same data make the same file.
    figure.savefig(buffer, format="png", dpi=144, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def training_curves(losses: Sequence[float], validation: Sequence[Evaluation]) -> bytes:
    """Mean loss of each epoch, and Recall and MRR of the validation sessions after it."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    epochs = range(1, len(losses) + 1)
    axes[0].plot(epochs, losses, marker="o", color=BLUE)
    axes[0].set(title="training loss", xlabel="epoch", ylabel="mean loss")
    if validation:
        k = validation[0].k
        epochs = range(1, len(validation) + 1)
        axes[1].plot(epochs, [v.recall for v in validation], marker="o", color=BLUE, label=f"Recall@{k}")
        axes[1].plot(epochs, [v.mrr for v in validation], marker="s", color=ORANGE, label=f"MRR@{k}")
        axes[1].set_ylim(bottom=0)
        axes[1].legend(frameon=False)
        axes[1].set(title=f"validation, {validation[-1].targets:,} next events", xlabel="epoch")
    else:
        axes[1].set_axis_off()
        axes[1].text(0.5, 0.5, "no validation sessions", ha="center", va="center", color=GREY)
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def shortened(label: str) -> str:
    """At most 32 characters."""
    return label if len(label) <= 32 else f"{label[:31]}…"


def comparison_plot(comparison: Comparison) -> bytes:
    """Recall@20 and MRR@20 of each model as points with their 95 % intervals, the first model on top."""
    rows = comparison.rows[::-1]
    figure = Figure(figsize=(10, 1.2 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    measures = (
        (axes[0], f"Recall@{K}", [row.recall[K] for row in rows], BLUE),
        (axes[1], f"MRR@{K}", [row.mrr for row in rows], ORANGE),
    )
    for axis, title, intervals, colour in measures:
        for place, interval in enumerate(intervals):
            axis.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2)
            axis.plot([interval.mean], [place], marker="o", markersize=4, color=colour)
            axis.annotate(
                f"{interval.mean:.3f}",
                (interval.high, place),
                (5, -3),
                textcoords="offset points",
                color=GREY,
            )
        axis.set(title=title, xlim=(0, 1.18 * max(i.high for i in intervals) or 1))
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(left=False)
    axes[0].set_yticks(range(len(rows)), [shortened(row.name) for row in rows])
    axes[0].set_ylim(-0.6, len(rows) - 0.4)
    return _png(figure)
