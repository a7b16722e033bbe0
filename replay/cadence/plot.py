"""The plot of a cadence study: Recall@20 of each contender over event time.

Tested by tests/learning/test_cadence_command.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from model.comparison.plots import GREY, ORANGE, png_of
from model.config import LIST_LENGTH
from replay.cadence.hourly_hits import HourlyHits
from replay.cadence.live_baselines import HOUR_MS

DRAWN_FROM_TARGETS = 100


def rolling_plot(series: Sequence[HourlyHits], hours: int) -> bytes:
    """Recall@20 over event time as a PNG: a point covers the `hours` before it, a colour is a cadence.

    Baselines are dashed. Versions that stay frozen between trainings are dotted if others are refreshed.
    Hours of few targets, such as late events at a log's end, are left out.
    """
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    axis = figure.subplots()
    cadences = list(dict.fromkeys(one.cadence for one in series if one.cadence))
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, len(cadences)))
    of_cadence = dict(zip(cadences, shades, strict=True))
    baseline_colours = iter([GREY, ORANGE] * len(series))
    some_follow = any(one.follows and one.cadence for one in series)
    for one in series:
        recall_T = one.rolling(hours, DRAWN_FROM_TARGETS)
        ends_ms = one.first_hour_ms + HOUR_MS * (1 + np.arange(len(recall_T)))
        still = "dotted" if some_follow and not one.follows else "solid"
        drawn_T = np.flatnonzero(~np.isnan(recall_T))
        until = drawn_T[-1] + 1 if len(drawn_T) else 0
        axis.plot(
            ends_ms[:until].astype("datetime64[ms]"),
            recall_T[:until],
            label=f"{one.recall:.3f}  {one.name}",
            color=of_cadence[one.cadence] if one.cadence else next(baseline_colours),
            linestyle=still if one.cadence else "dashed",
            linewidth=1.4,
        )
    axis.set(ylim=(0, 1), ylabel=f"Recall@{LIST_LENGTH} of the last {hours} h", xlabel="event time, UTC")
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="x", labelrotation=30)
    axis.legend(
        frameon=False, loc="upper left", bbox_to_anchor=(1, 1), title=f"Recall@{LIST_LENGTH} of all, system"
    )
    return png_of(figure)
