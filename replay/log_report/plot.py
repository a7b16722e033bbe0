"""The picture of a log's report: six panels, as PNG, without a display.

Tested by tests/unit/replay/log_report/test_report.py.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullLocator

from replay.log_report.report import LogReport
from replay.log_report.survey import DAY_MS, HOUR_MS

BLUE, ORANGE, GREY = "#2563eb", "#d97706", "#6b7280"
# A log of fewer days than this is drawn by the hour.
DAYS_BY_HOUR = 4
GAP_TICKS = {1: "1 s", 60: "1 min", 3_600: "1 h", 86_400: "1 d", 86_400 * 30: "30 d"}
SESSION_GAP_S = 1_800
DRAWN_FROM_GAPS = 100
COUNTS = EngFormatter(sep="")


def log_picture(report: LogReport) -> bytes:
    """Events over time and by hour of day, lengths, gaps, popularity, new items a day."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    panels = figure.subplots(2, 3)
    _over_time(panels[0][0], report)
    _by_hour(panels[0][1], report)
    _new_items(panels[0][2], report)
    _lengths(panels[1][0], report)
    _gaps(panels[1][1], report)
    _popularity(panels[1][2], report)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
    sessions = report.sessions
    about = "about " if sessions.one_in > 1 else ""
    names = ", ".join(report.files[:3]) + (" …" if len(report.files) > 3 else "")
    figure.suptitle(
        f"{names}: {report.events:,} events, {about}{sessions.estimated:,} sessions, "
        f"{report.items.items:,} items",
        color=GREY,
    )
    buffer = BytesIO()
    # Without matplotlib's version and date, equal data give equal files.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _over_time(axes: Axes, report: LogReport) -> None:
    hourly = len(report.days) < DAYS_BY_HOUR
    unit_ms = HOUR_MS if hourly else DAY_MS
    counted = report.hours if hourly else report.days
    numbers = range(min(counted), max(counted) + 1)
    starts = np.array(numbers, "int64") * unit_ms
    counts = [counted.get(number, 0) for number in numbers]
    edges = np.append(starts, starts[-1] + unit_ms).astype("datetime64[ms]")
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.set(
        title=f"events {'an hour' if hourly else 'a day'} (UTC; first and last may be partial)",
        ylim=(0, None),
    )
    axes.yaxis.set_major_formatter(COUNTS)
    _dates(axes)


def _by_hour(axes: Axes, report: LogReport) -> None:
    counts = np.array(report.hours_of_day)
    axes.bar(np.arange(24) + 0.5, counts / counts.sum(), width=0.9, color=BLUE)
    axes.set(title="share of events by hour of day (UTC)", xlim=(0, 24), xticks=range(0, 25, 3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))


def _new_items(axes: Axes, report: LogReport) -> None:
    found = report.items.new_by_day
    days = list(report.days)
    starts = np.array(days, "int64") * DAY_MS
    edges = np.append(starts, starts[-1] + DAY_MS).astype("datetime64[ms]")
    counts = np.array([found.get(day, 0) for day in days])
    later = counts[1:]
    axes.set_title("items first seen, by day (UTC)")
    axes.yaxis.set_major_formatter(COUNTS)
    if len(days) < 2:
        axes.text(0.5, 0.5, "one day only: all items are new", ha="center", va="center", color=GREY,
                  transform=axes.transAxes)  # fmt: skip
        axes.set(xticks=[], yticks=[])
        return
    axes.stairs(counts, edges, fill=True, color=BLUE)
    # On the first day all items are new, which would dwarf the rest.
    top = max(1.0, 1.15 * later.max())
    axes.set_ylim(0, top)
    if counts[0] > top:
        text = f"first day, cut off here: {counts[0]:,}"
        axes.text(0.97, 0.95, text, ha="right", va="top", transform=axes.transAxes, color=GREY)
    _dates(axes)


def _lengths(axes: Axes, report: LogReport) -> None:
    counted = report.sessions.lengths_counted
    lengths = np.array(sorted(counted))
    counts = np.array([counted[length] for length in lengths.tolist()])
    # The share of sessions of at least each length needs no bins.
    at_least = counts[::-1].cumsum()[::-1] / counts.sum()
    axes.step(lengths, at_least, where="pre", color=BLUE)
    axes.plot(lengths, at_least, ".", markersize=3, color=BLUE)
    axes.set(
        xscale="log", yscale="log", title="share of sessions of at least so many events", xlabel="events"
    )
    ticks = [unit * 10**power for power in range(7) for unit in (1, 2, 5)]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick <= lengths[-1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.set_ylim(top=1.4)
    axes.grid(axis="x", alpha=0.25)
    median = report.sessions.lengths.percentiles.get(50)
    if median:
        mean = report.sessions.lengths.mean
        text = f"{report.sessions.one_click:.0%} have one event\nmedian {median:g}, mean {mean:.1f}"
        axes.text(0.97, 0.95, text, ha="right", va="top", transform=axes.transAxes, color=GREY)


def _gaps(axes: Axes, report: LogReport) -> None:
    gaps, final = report.sessions.gaps_ms, report.sessions.final_gaps_ms
    axes.set_title(f"gaps within sessions ({report.sessions.equal_times:.1%} are 0, not drawn)")
    positive, positive_final = gaps[gaps > 0] / 1000, final[final > 0] / 1000
    if len(positive) < DRAWN_FROM_GAPS:
        text = f"only {len(positive):,} gaps above 0"
        axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    low, high = max(0.001, positive.min() * 0.8), positive.max() * 1.25
    edges = np.geomspace(low, high, 60)
    for values, colour, label in ((positive, BLUE, "all"), (positive_final, ORANGE, "final")):
        if len(values):
            heights, _ = np.histogram(values, edges)
            name = f"{label}: {len(values):,}"
            axes.stairs(heights / len(values), edges, color=colour, label=name, linewidth=1.6)
    axes.set(xscale="log", ylim=(0, None), ylabel="share by bin of equal width in log time")
    if low < SESSION_GAP_S < high:
        axes.axvline(SESSION_GAP_S, color=GREY, linestyle=":", linewidth=1)
        place = axes.get_xaxis_transform()
        axes.text(SESSION_GAP_S, 0.98, " 30 min", transform=place, va="top", color=GREY, fontsize="small")
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in GAP_TICKS if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: GAP_TICKS.get(round(tick), f"{tick:g} s")))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axes.legend(frameon=False, loc="upper left")


def _popularity(axes: Axes, report: LogReport) -> None:
    counts = report.counts
    # As many points as can be seen, instead of millions of ranks.
    ranks = np.unique(np.geomspace(1, len(counts), 400).astype("int64"))
    axes.plot(ranks, counts[ranks - 1], color=BLUE)
    axes.set(xscale="log", yscale="log", title="popularity", xlabel="rank of the item", ylabel="events")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="x", alpha=0.25)
    items = report.items
    slope = "" if items.zipf is None else f"\nslope −{items.zipf:.2f} (ranks 10–1,000)"
    shares = f"top 20: {items.top_20:.1%} of events\ntop 1 %: {items.top_percent:.1%}"
    text = f"Gini {items.gini:.2f}{slope}\n{shares}"
    axes.text(0.03, 0.05, text, va="bottom", transform=axes.transAxes, color=GREY)
