"""Whether the store follows the open sessions: the series of a run beside the count of the log.

Reads the series that `nextclick bench stream --series` saved. The count at a watermark includes the
sessions that have begun and have not been silent for longer than the gap plus the allowed lateness.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from replay.datasets.event_files import EventFiles
from stream.settings import Settings

Counts = npt.NDArray[np.int64]


def open_at(sessions: Sessions, silence_ms: int, watermarks_ms: Counts) -> Counts:
    """How many sessions of the log are open at each watermark."""
    begins_ms = np.sort(sessions.times_ms[sessions.offsets[:-1]])
    ends_ms = np.sort(sessions.times_ms[sessions.offsets[1:] - 1] + silence_ms)
    begun = np.searchsorted(begins_ms, watermarks_ms, side="right")
    ended = np.searchsorted(ends_ms, watermarks_ms, side="left")
    return np.asarray(begun - ended, np.int64)


def main() -> int:
    """Compare, plot, print."""
    parser = argparse.ArgumentParser(
        prog="open_sessions.py",
        description=__doc__.split("\n\n")[0],
        epilog="example: open_sessions.py clicks.csv.xz --series out.json --output open.png",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files, those of the run")
    parser.add_argument("--series", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="PNG")
    arguments = parser.parse_args()
    points = json.loads(arguments.series.read_text())["series"]
    frame = EventFiles(arguments.files).load()
    rule = SessionRule(ModelConfig().session_gap_s, Settings().allowed_lateness_s)
    sessions = Sessions.from_frame(frame, Vocabulary.from_frame(frame), rule)
    column = {name: np.array([point[name] for point in points]) for name in points[0]}
    watermarks_ms = (column["watermark_seconds"] * 1000).astype(np.int64)
    truth = open_at(sessions, rule.silence_before_expiry_ms or 0, watermarks_ms)
    kept = column["open_sessions"]
    # Where few are open, one more or less is much.
    seen = truth > min(1_000, int(truth.max()) // 2)
    print(f"points: {len(points)}")
    print(f"sessions in the log: {len(sessions):,}")
    print(f"open at once, by the log: at most {truth.max():,}")
    print(f"in the store: at most {int(kept.max()):,}, at the end {int(kept[-1]):,} (log: {truth[-1]:,})")
    print(f"store / log, median: {np.median(kept[seen] / truth[seen]):.3f}")
    stored = column["store_bytes"] / 2**20
    print(f"store: at most {stored.max():.0f} MiB, at the end {stored[-1]:.0f} MiB")
    quarter = len(points) // 4
    first, last = column["rss_bytes"][quarter], column["rss_bytes"][-1]
    print(f"resident memory: {first / 2**20:.0f} MiB after a quarter, {last / 2**20:.0f} MiB at the end")
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    events = column["events_read"] / 1e6
    axes[0].plot(events, truth, label="open in the log", color="0.7", linewidth=4)
    axes[0].plot(events, kept, label="in the store", color="C0", linewidth=1)
    axes[0].set_ylabel("sessions")
    axes[0].legend()
    axes[1].plot(events, stored, color="C1")
    axes[1].set_ylabel("store, MiB")
    axes[2].plot(events, column["rss_bytes"] / 2**20, color="C2")
    axes[2].set_ylabel("resident memory, MiB")
    axes[2].set_xlabel("million events")
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.savefig(arguments.output, dpi=110, metadata={"Software": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
