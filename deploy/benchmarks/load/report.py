"""The figures and the picture of an endurance run, from its series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# At first caches fill and sessions open; growth is judged after this share of the run.
SETTLED_SHARE = 0.2
MIB = 1 << 20


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The run without its series: a quarter's memory, store and delay each, and how memory went on."""
    series = result["series"]
    settled = [point for point in series if point["wall_s"] >= SETTLED_SHARE * series[-1]["wall_s"]]
    hours = np.array([point["wall_s"] / 3600 for point in settled])
    rss = np.array([point["rss_bytes"] / MIB for point in settled])
    first, last = settled[0], settled[-1]
    worst = max(series, key=lambda point: point["delay_ms"]["p99"] or 0.0)
    # None where a run is too short for two samples.
    events = (last["read"] or 0) - (first["read"] or 0)
    worker_us = broker_us = None
    if events:
        worker_us = round(1e6 * (last["cpu_s"] - first["cpu_s"]) / events, 1)
    if events and last["broker_cpu_s"] is not None:
        broker_us = round(1e6 * (last["broker_cpu_s"] - first["broker_cpu_s"]) / events, 1)
    return {
        **{name: value for name, value in result.items() if name != "series"},
        "samples": len(series),
        "identity_held_in_all_samples": all(point["identity_holds"] for point in series),
        "rss_mib_settled_first_last_most": [
            round(float(rss[0])),
            round(float(rss[-1])),
            round(float(rss.max())),
        ],
        "rss_mib_per_hour": round(float(np.polyfit(hours, rss, 1)[0]), 1) if len(settled) > 2 else None,
        "open_files_first_last_most": [
            settled[0]["open_files"],
            settled[-1]["open_files"],
            max(point["open_files"] for point in settled),
        ],
        "store_mib_first_last_most": [
            round(value / MIB, 1)
            for value in (
                first["store_bytes"],
                last["store_bytes"],
                max(point["store_bytes"] for point in settled),
            )
        ],
        "sessions_most": max(point["sessions"] or 0 for point in series),
        "lag_most": max(point["lag"] or 0 for point in series),
        "worst_sample": {"wall_s": worst["wall_s"], "retraining": worst["retraining"], **worst["delay_ms"]},
        "worker_core_us_per_event": worker_us,
        "broker_core_us_per_event": broker_us,
    }


def plot(result: dict[str, Any], path: Path) -> None:
    """Delay, memory, store and open files over the run, with the retraining and the swaps marked."""
    series = result["series"]
    minutes = np.array([point["wall_s"] / 60 for point in series])
    figure = Figure(figsize=(10, 9), layout="constrained")
    delay, memory, store, files = figure.subplots(4, 1, sharex=True)
    for name, colour in (("p50", "#2b6cb0"), ("p99", "#dd6b20"), ("max", "#c53030")):
        values = [point["delay_ms"][name] or np.nan for point in series]
        delay.plot(minutes, values, label=name, color=colour, linewidth=1.2)
    delay.set_yscale("log")
    delay.set_ylabel("event due → list, ms")
    memory.plot(minutes, [point["rss_bytes"] / MIB for point in series], color="#2b6cb0")
    memory.set_ylabel("worker's RSS, MiB")
    store.plot(minutes, [point["store_bytes"] / MIB for point in series], color="#2b6cb0", label="store, MiB")
    store.set_ylabel("session store, MiB")
    sessions = store.twinx()
    sessions.plot(
        minutes, [(point["sessions"] or 0) / 1000 for point in series], color="#718096", linewidth=1
    )
    sessions.set_ylabel("open sessions, thousand", color="#718096")
    sessions.set_ylim(bottom=0)
    files.plot(minutes, [point["open_files"] for point in series], color="#2b6cb0")
    files.set_ylabel("open files")
    files.set_xlabel("minutes")
    axes = (delay, memory, store, files)
    for panel in axes:
        panel.grid(alpha=0.25)
        panel.set_xlim(0, minutes[-1])
        _mark(panel, result, minutes)
        if panel is not delay:
            panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
    delay.legend(loc="upper right", ncols=4, fontsize=8)
    figure.suptitle(
        f"{result['events']:,} events at {result['events_per_s']:,.0f}/s, with a retraining (grey) and "
        f"{len(_swaps_s(result))} swaps (dashed)"
    )
    figure.savefig(path, dpi=110)


def _mark(panel: Axes, result: dict[str, Any], minutes: np.ndarray[Any, Any]) -> None:
    busy = np.array([point["retraining"] for point in result["series"]])
    if busy.any():
        panel.axvspan(minutes[busy][0], minutes[busy][-1], color="#a0aec0", alpha=0.25, linewidth=0)
    for at_s in _swaps_s(result):
        panel.axvline(at_s / 60, color="#4a5568", linestyle="--", linewidth=0.8)


def _swaps_s(result: dict[str, Any]) -> list[float]:
    """When the retrained version's first list came, and when the first version was announced again."""
    swaps = sorted(result["first_lists_s"].values())[1:]
    if swaps and result["announced_again_s"] is not None:
        swaps.append(result["announced_again_s"])
    return swaps
