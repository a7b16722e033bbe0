"""Outcomes as Parquet: `partition=P/FIRST-END.parquet` has the lists of offsets [FIRST, END) of the topic.

File names say how far it is, so that an export goes on after a kill: only whole files have such names. What
is kept of a forgotten session is removed by writing its files again without it, under the same names.
Tested by tests/unit/stream/outcomes/test_outcome_files.py and tests/faults/test_outcomes.py.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.durable import replace_durably, sync_folder
from model.errors import NextclickError
from stream.kafka.topic_id import is_other_topic, topic_id
from stream.kafka.topic_reader import TopicReader
from stream.logs import happening
from stream.outcomes.outcome import UNREADABLE_ERRORS, Outcome, Taken, decode_outcome
from stream.settings import Settings

ROWS_OF_FILE = 20_000
# Readers of a folder of Parquet pass over names that begin with a dot.
TOPIC_FILE, LOCK_FILE, UNFINISHED = ".topic.json", ".lock", ".unfinished"
TEXT, WHOLE = pa.string(), pa.int64()
OF_TAKEN = {
    "event_id": TEXT, "item_id": TEXT, "kind": TEXT, "place": pa.int32(), "after_ms": WHOLE, "owner": TEXT,
    "price": pa.float64(),
}  # fmt: skip
COLUMNS = pa.schema(
    {
        "session_id": TEXT, "event_id": TEXT, "event_time_ms": WHOLE, "model_version": TEXT,
        "position": pa.int32(), "source": TEXT, "experiment": TEXT, "side": TEXT, "propensity": pa.float64(),
        "owners": TEXT, "items": pa.list_(TEXT), "next_place": pa.int32(), "within_ms": WHOLE,
        "taken": pa.list_(pa.struct(OF_TAKEN)), "not_counted": WHOLE,
    }
)  # fmt: skip
logger = logging.getLogger(__name__)


class _Source(msgspec.Struct):
    """The topic that a folder's offsets are of."""

    topic: str
    id: str


class Exported(NamedTuple):
    """Lists that an export has written, records that are no outcomes, and those that were gone before."""

    lists: int
    unreadable: int
    lost: int


class OutcomeFiles:
    """A folder of outcomes. Raises NextclickError when it, or the topic, cannot be read or written.

    >>> OutcomeFiles(Path("nowhere")).ends()
    {}
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self) -> None:
        """Raise NextclickError unless the folder has exported outcomes."""
        if not (self.root / TOPIC_FILE).is_file():
            raise NextclickError(
                f"{self.root} is no folder of exported outcomes",
                "It would be made anew, and what is elsewhere would stay; nothing was removed.",
                "Name the folder that `nextclick experiment export` writes.",
            )

    def ends(self) -> dict[int, int]:
        """By partition: the offset after the last one that the folder has."""
        found: dict[int, int] = {}
        for path in self._files():
            number, end = int(path.parent.name.partition("=")[2]), int(path.stem.partition("-")[2])
            found[number] = max(found.get(number, 0), end)
        return found

    def export(
        self, settings: Settings, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Exported:
        """Add what the topic has more than the folder, up to its end now."""
        lists = unreadable = lost = 0
        with self._alone(), TopicReader(settings, settings.outcomes_topic) as reader:
            self._check_topic(settings)
            ends = self.ends()
            bounds = list(enumerate(reader.bounds()))
            total = sum(max(0, high - max(low, ends.get(number, 0))) for number, (low, high) in bounds)
            done = 0
            for number, (low, high) in bounds:
                first = ends.get(number, low)
                lost += max(0, low - first)
                first = max(first, low)
                rows: list[Outcome] = []
                before = unreadable
                for batch in reader.read(number, first, high) if first < high else ():
                    for message in batch:
                        try:
                            rows.append(decode_outcome(message.value()))
                        except UNREADABLE_ERRORS:
                            unreadable += 1
                    done += len(batch)
                    progress(min(done, total), total)
                    end = (batch[-1].offset() or 0) + 1
                    if len(rows) >= ROWS_OF_FILE:
                        self._write(number, first, end, rows)
                        lists, first, rows = lists + len(rows), end, []
                # Without a row, too, where something was read: else each export would count it again.
                if rows or unreadable > before:
                    self._write(number, first, high, rows)
                    lists += len(rows)
        if lost or unreadable:
            logger.warning(
                "%d offsets left the topic %s before they were exported, %d records were no outcomes",
                lost,
                settings.outcomes_topic,
                unreadable,
                extra=happening("outcomes_not_exported", lost=lost, unreadable=unreadable),
            )
        return Exported(lists, unreadable, lost)

    def remove(self, sessions: Collection[str]) -> dict[str, int]:
        """Write the files that have lists of these sessions again without them; by file, how many it had."""
        removed: dict[str, int] = {}
        wanted = pa.array(sorted(sessions), TEXT)
        with self._alone():
            for path in self._files():
                try:
                    names = pq.read_table(path, columns=["session_id"], partitioning=None)["session_id"]
                    is_theirs = pc.is_in(names, wanted)
                    count = pc.sum(is_theirs).as_py() or 0
                    if not count:
                        continue
                    left = pq.read_table(path, partitioning=None).filter(pc.invert(is_theirs))
                    _publish(left, path)
                except (OSError, pa.ArrowInvalid) as error:
                    raise _unusable(path, error) from None
                removed[f"{path.parent.name}/{path.name}"] = count
        return removed

    def _files(self) -> list[Path]:
        return sorted(self.root.glob("partition=*/[0-9]*-[0-9]*.parquet"))

    def _write(self, number: int, first: int, end: int, rows: Sequence[Outcome]) -> None:
        path = self.root / f"partition={number}" / f"{first:020d}-{end:020d}.parquet"
        try:
            path.parent.mkdir(exist_ok=True)
            _publish(columns_of(rows), path)
        except OSError as error:
            raise _unusable(path, error) from None

    def _check_topic(self, settings: Settings) -> None:
        """Note which topic the offsets are of, and refuse another one of its name."""
        topic, path = settings.outcomes_topic, self.root / TOPIC_FILE
        known = topic_id(settings, topic)
        try:
            if path.exists():
                before = msgspec.json.decode(path.read_bytes(), type=_Source)
                if before.topic != topic or is_other_topic(before.id, known):
                    raise NextclickError(
                        f"{self.root} has outcomes of another topic: {before.topic} with the id {before.id}",
                        f"The offsets of {topic} ({known}) are others; nothing was written.",
                        "Name another folder for this topic.",
                    )
            replace_durably(path, msgspec.json.encode(_Source(topic, known)), path.with_suffix(UNFINISHED))
        except (OSError, msgspec.DecodeError) as error:
            raise _unusable(path, error) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock; what another process has left unfinished is removed."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / LOCK_FILE).open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise NextclickError(
                        f"another process writes to {self.root}",
                        "Two would write files over each other; nothing was done.",
                        "Wait until it has ended, then run the command again.",
                    ) from None
                for left in self.root.glob(f"partition=*/.*{UNFINISHED}"):
                    left.unlink()
                yield
        except OSError as error:
            raise _unusable(self.root, error) from None


def columns_of(rows: Sequence[Outcome]) -> pa.Table:
    """Outcomes as columns.

    >>> columns_of([Outcome("s", "0-7", 5, "v", ["i"], [], 9, propensity=0.2)])["propensity"].to_pylist()
    [0.2]
    """
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS.names if name != "taken"}
    taken = [[_as_struct(one) for one in row.taken] for row in rows]
    return pa.table({**columns, "taken": taken}, schema=COLUMNS)


def _as_struct(taken: Taken) -> dict[str, object]:
    return {name: getattr(taken, name) for name in OF_TAKEN}


def _publish(table: pa.Table, path: Path) -> None:
    """Write a file whole and durably, then give it its name."""
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    replace_durably(path, sink.getvalue().to_pybytes(), unfinished)
    sync_folder(path.parent.parent)


def _unusable(path: Path, error: Exception) -> NextclickError:
    return NextclickError(
        f"{path} cannot be read or written: {error}",
        "Files that were there before are whole; what is missing is still in the topic.",
        "Make room, or look at the rights and at this file, then run the command again.",
    )
