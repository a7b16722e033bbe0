"""Writes an archive of as many events as are wanted, in the form of `nextclick archive`, without a broker.

Sessions of six events on average begin one after the other and lie next to each other in their partition;
items are drawn by popularity (Zipf), and the next item is often the one after the last. What is measured on
it is how reading and training go with the number of events, not how good a list is:

    python deploy/benchmarks/large_archive.py FOLDER --events 30000000
    /usr/bin/time -v nextclick train FOLDER --network transitions
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.columns import RECORD_COLUMNS

ROWS = 1 << 20
GROUP_ROWS = 65_536
START_MS = 1_700_000_000_000
BETWEEN_EVENTS_MS = 20_000
LONGEST = 30


def rows(
    number: int, count: int, items: int, events_per_ms: float, chance: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Session, item and time of `count` events of a partition: 3×count, in order of time but for sessions."""
    lengths = np.minimum(chance.geometric(1 / 6, count // 4 + 1), LONGEST)
    session = np.repeat(np.arange(len(lengths)), lengths)[:count]
    place = np.arange(count) - np.searchsorted(session, session)
    begins_ms = START_MS + (np.arange(count) / events_per_ms).astype(np.int64)
    time_ms = begins_ms - place + BETWEEN_EVENTS_MS * place
    popular = np.minimum(chance.zipf(1.2, count) - 1, items - 1)
    follows = (place > 0) & (chance.random(count) < 0.5)
    item = popular.copy()
    for step in range(1, LONGEST):
        at = np.flatnonzero(follows & (place == step))
        item[at] = (item[at - 1] + 1) % items
    return np.stack([session + number * 10**9, item, time_ms])


def write(folder: Path, events: int, partitions: int, items: int) -> None:
    """Write the archive, part by part."""
    folder.mkdir(parents=True)
    archive = ArchiveFolder(folder)
    archive.belong_to("events", "")
    share = events // partitions
    events_per_ms = share / (30 * 86_400_000)
    for number in range(partitions):
        archive.open_partition(number)
        session, item, time_ms = rows(number, share, items, events_per_ms, np.random.default_rng(number))
        for first in range(0, share, ROWS):
            end = min(first + ROWS, share)
            here = slice(first, end)
            texts = {"session_id": "s", "item_id": "i"}
            columns = {
                "partition": pa.array(np.full(end - first, number, np.int32)),
                "offset": pa.array(np.arange(first, end)),
                "event_time_ms": pa.array(time_ms[here]),
                "timestamp_ms": pa.array(time_ms[here]),
                "kind": pa.array(["view"] * (end - first), pa.large_string()),
                "names_kind": pa.array(np.zeros(end - first, bool)),
                **{
                    name: pa.array([f"{text}{value}" for value in values[here].tolist()], pa.large_string())
                    for (name, text), values in zip(texts.items(), (session, item), strict=True)
                },
            }
            table = pa.table(
                [
                    columns.get(name, pa.nulls(end - first, RECORD_COLUMNS.field(name).type))
                    for name in RECORD_COLUMNS.names
                ],
                schema=RECORD_COLUMNS,
            )
            unfinished = archive.unfinished(number)
            pq.write_table(table, unfinished, compression="zstd", row_group_size=GROUP_ROWS)
            archive.publish(unfinished, number, first, end)


def main() -> None:
    """Parse the command line, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder that is not there yet")
    parser.add_argument("--events", type=int, default=30_000_000)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--items", type=int, default=200_000)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.events, arguments.partitions, arguments.items)


if __name__ == "__main__":
    main()
