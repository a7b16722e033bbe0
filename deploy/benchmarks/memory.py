"""Peak memory of an epoch over a log of tens of millions of events, trained by memory map.

Writes a synthetic log (RSC15's preprocessed format), trains one epoch on it with
`nextclick train --memory-map` in a process of its own, and reports that process's peak
resident memory, file-backed pages included. The network is small: its size adds to the
peak, not its quality.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
BLOCK = 1_000_000


def write_log(path: Path, events: int, items: int) -> None:
    """Sessions of 2 to 6 events, interleaved in time, over items of Zipf popularity."""
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, items + 1)
    popularity /= popularity.sum()
    begin_s, session = 1_500_000_000, 0
    with path.open("w") as file:
        file.write("SessionId\tItemId\tTime\n")
        for written in range(0, events, BLOCK):
            size = min(BLOCK, events - written)
            lengths = rng.integers(2, 7, size=size)
            of = np.repeat(np.arange(session, session + size), lengths)[:size]
            session = int(of[-1]) + 1
            seconds = begin_s + np.sort(rng.integers(0, 3600, size=size))
            begin_s += 3600
            # Neighbouring rows are shuffled among sessions, so that sessions overlap.
            of = of[np.argsort(np.arange(size) + rng.integers(0, 500, size=size), kind="stable")]
            frame = pd.DataFrame({"s": of, "i": rng.choice(items, size=size, p=popularity), "t": seconds})
            frame.to_csv(file, sep="\t", header=False, index=False)


def main() -> int:
    """Write, train, report."""
    parser = argparse.ArgumentParser(prog="memory.py", description=__doc__)
    parser.add_argument("--events", type=int, default=30_000_000)
    parser.add_argument("--items", type=int, default=37_483)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nextclick-memory-") as temporary:
        folder = Path(temporary)
        log = folder / "log.txt"
        write_log(log, arguments.events, arguments.items)
        size = log.stat().st_size
        started = time.perf_counter()
        command = [
            *(sys.executable, "-m", "nextclick", "train", str(log), "--memory-map", "--json"),
            *("--registry", str(folder / "registry"), "--test-fraction", "0.001", "--epochs", "1"),
            *("--hidden-size", "32", "--negatives", "128", "--batch-size", "512"),
        ]
        ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - started
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    figures = {
        "events": arguments.events,
        "file_mib": round(size / 2**20),
        "peak_rss_mib": round(peak_kib / 1024),
        "seconds": round(seconds),
        "training_events_per_s": json.loads(ended.stdout)["events_per_s"],
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
