"""Plots: curves of a training and of a log, and models beside each other. PNG, without a display.

Tested by tests/unit/model/evaluation/test_rank_targets.py and comparison/test_gate.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from model.comparison.compare import SPLITS, Comparison
from model.comparison.gate import Decision
from model.evaluation.intervals import Interval
from model.evaluation.metrics import K
from model.evaluation.rank_targets import Evaluation

BLUE, ORANGE, GREY = "#2563eb", "#d97706", "#6b7280"


def png_of(figure: Figure) -> bytes:
    """Returns the figure as a PNG file; the same data make the same bytes.

    >>> png_of(Figure())[1:4]
    b'PNG'
    """
    buffer = BytesIO()
    # By default matplotlib adds its version.
    figure.savefig(buffer, format="png", dpi=144, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def training_curves(
    losses: Sequence[float], validation: Sequence[Evaluation], accuracies: Sequence[float] = ()
) -> bytes:
    """Plot each epoch's mean loss, and Recall and MRR of the validation sessions. Returns a PNG.

    With the accuracies of the training it plots accuracy and the validation's loss too; of a network that
    predicts vectors the validation's loss.
    """
    has_same_loss = bool(accuracies) or any(scored.mse is not None for scored in validation)
    figure = Figure(figsize=(13.5 if accuracies else 9, 3.4), layout="constrained")
    axes = figure.subplots(1, 3 if accuracies else 2)
    epochs = range(1, len(losses) + 1)
    validated = range(1, len(validation) + 1)
    axes[0].plot(epochs, losses, marker="o", color=BLUE, label="training")
    axes[0].set(title="loss" if has_same_loss else "training loss", xlabel="epoch", ylabel="mean loss")
    if has_same_loss:
        with_loss = [(e, v.loss) for e, v in zip(validated, validation, strict=True) if v.loss is not None]
        if with_loss:
            axes[0].plot(*zip(*with_loss, strict=True), marker="s", color=ORANGE, label="validation")
            axes[0].legend(frameon=False)
    if accuracies:
        axes[1].plot(epochs, accuracies, marker="o", color=BLUE, label="training")
        axes[1].plot(
            validated, [v.accuracy for v in validation], marker="s", color=ORANGE, label="validation"
        )
        axes[1].set_ylim(bottom=0)
        axes[1].legend(frameon=False)
        axes[1].set(title="accuracy", xlabel="epoch")
    axis = axes[-1]
    if validation:
        k = validation[0].k
        axis.plot(validated, [v.recall for v in validation], marker="o", color=BLUE, label=f"Recall@{k}")
        axis.plot(validated, [v.mrr for v in validation], marker="s", color=ORANGE, label=f"MRR@{k}")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False)
        axis.set(title=f"validation, {validation[-1].targets:,} next events", xlabel="epoch")
    else:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no validation sessions", ha="center", va="center", color=GREY)
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
    return png_of(figure)


def shortened(label: str) -> str:
    """Shorten a label to at most 32 characters.

    >>> shortened("gru4rec:loss=bpr-max,hidden_size=100")
    'gru4rec:loss=bpr-max,hidden_siz…'
    """
    return label if len(label) <= 32 else f"{label[:31]}…"


def comparison_plot(comparison: Comparison) -> bytes:
    """Plot accuracy, Recall@20 and MRR@20 with 95 % intervals, the first model on top. Returns a PNG."""
    rows = comparison.rows[::-1]
    figure = Figure(figsize=(12, 1.4 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    measures = (
        (axes[0], "accuracy", [row.recall[1] for row in rows], GREY),
        (axes[1], f"Recall@{K}", [row.recall[K] for row in rows], BLUE),
        (axes[2], f"MRR@{K}", [row.mrr for row in rows], ORANGE),
    )
    for axis, title, intervals, colour in measures:
        _points(axis, intervals, colour)
        axis.set(title=title, xlim=(0, 1.18 * max(i.high for i in intervals) or 1))
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(left=False)
    axes[0].set_yticks(range(len(rows)), [shortened(row.name) for row in rows])
    axes[0].set_ylim(-0.6, len(rows) - 0.4)
    figure.suptitle(SPLITS[comparison.split], fontsize="medium", color=GREY)
    return png_of(figure)


def rolling_recall(points: Mapping[int, Mapping[str, Interval]]) -> bytes:
    """Plot Recall@20 of systems over event time with 95 % bands. Returns a PNG.

    `points` maps epoch milliseconds to intervals by system. A time without events leaves a gap.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(name for systems in points.values() for name in systems))
    times = np.array(list(points), "datetime64[ms]")
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    for name, colour in zip(names, (BLUE, GREY, ORANGE), strict=False):
        recall = [systems.get(name, nothing) for systems in points.values()]
        axes.plot(times, [r.mean for r in recall], marker="o", markersize=3, color=colour, label=name)
        axes.fill_between(
            times, [r.low for r in recall], [r.high for r in recall], color=colour, alpha=0.2, linewidth=0
        )
    if names:
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.legend(frameon=False, ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1))
    else:
        axes.text(0.5, 0.5, "no events scored yet", ha="center", va="center", color=GREY)
    axes.set(xlabel="event time, UTC", ylabel=f"Recall@{K}", ylim=(0, None))
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return png_of(figure)


def gate_plot(decision: Decision, margin: float) -> bytes:
    """Plot a gate's figures: Recall@20 and MRR@20 of all, and the challenger's lead over the others.

    Points have 95 % intervals; the challenger is on top. The dashed line is the allowed loss. Returns a
    PNG.
    """
    rows = decision.standings[::-1]
    names = [shortened(row.name) for row in rows]
    figure = Figure(figsize=(11, 1.4 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True, width_ratios=[3, 3, 4])
    for axis, title, intervals, colour in (
        (axes[0], f"Recall@{K}", [row.recall for row in rows], BLUE),
        (axes[1], f"MRR@{K}", [row.mrr for row in rows], ORANGE),
    ):
        _points(axis, intervals, colour)
        axis.set(title=title, xlim=(0, 1.2 * max(i.high for i in intervals) or 1))
    for offset, colour, name, leads in (
        (0.12, BLUE, f"Recall@{K}", [row.recall_lead for row in rows]),
        (-0.12, ORANGE, f"MRR@{K}", [row.mrr_lead for row in rows]),
    ):
        shown = [(place + offset, lead) for place, lead in enumerate(leads) if lead is not None]
        for place, lead in shown:
            axes[2].plot([lead.low, lead.high], [place, place], color=colour, linewidth=2)
        axes[2].plot(
            [lead.mean for _, lead in shown], [place for place, _ in shown],
            "o", markersize=4, color=colour, label=name,
        )  # fmt: skip
    axes[2].axvline(0, color=GREY, linewidth=0.8)
    axes[2].axvline(-margin, color=GREY, linewidth=0.8, linestyle="--", label="may be lost")
    axes[2].set(title="lead of the challenger over")
    axes[2].legend(frameon=False, loc="upper center", ncols=3, fontsize="small", borderpad=0)
    for axis in axes:
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(left=False)
    axes[0].set_yticks(range(len(rows)), names)
    # The challenger's row has no lead, which leaves room for the legend.
    axes[0].set_ylim(-0.6, len(rows) - 0.3)
    verdict = "accepted" if decision.accepted else "refused"
    figure.suptitle(f"{verdict}, by {decision.targets:,} next events of {decision.sessions:,} sessions")
    return png_of(figure)


def _points(axis: Axes, intervals: Sequence[Interval], colour: str) -> None:
    """Draw means with their intervals, and the means as text."""
    for place, interval in enumerate(intervals):
        axis.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2)
        axis.plot([interval.mean], [place], marker="o", markersize=4, color=colour)
        axis.annotate(
            f"{interval.mean:.3f}", (interval.high, place), (5, -3), textcoords="offset points", color=GREY
        )
