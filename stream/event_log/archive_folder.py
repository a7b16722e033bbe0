"""The folder of an archive: Parquet parts of `events`, and which offsets they hold.

`partition=P/FIRST-END.parquet` holds the records of partition P in [FIRST, END), by offset;
parts follow one another without gap or overlap. The names alone say which offsets are
archived: a part gets its name only when it is whole and durable, and only if it begins
where the newest one ends. Knows no Kafka.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from model.durable import replace_durably, sync_folder
from model.errors import NextclickError
from stream.failpoints import reach
from stream.kafka.topic_id import NO_ID, UNKNOWN, is_other_topic

NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")
PARTITION = re.compile(r"partition=(\d+)")
UNFINISHED = ".unfinished"
LOCK = ".lock"
REWRITE_LOCK = ".rewriting.lock"
TOPIC = "topic.json"
# The lock is held while a part gets its name; a holder that takes longer hangs.
LOCK_TIMEOUT_S = 60.0
LOCK_POLL_S = 0.02


@dataclass(frozen=True, order=True)
class Part:
    """One file with the records of one partition in [first, end)."""

    partition: int
    first: int
    end: int
    path: Path


def is_archive(path: Path) -> bool:
    """Whether a path is a folder that `nextclick archive` writes: it says of which topic, or has parts.

    >>> is_archive(Path("no-such-folder"))
    False
    """
    if not path.is_dir():
        return False
    has_parts = any(
        PARTITION.fullmatch(part.parent.name) and NAME.fullmatch(part.name)
        for part in path.glob("partition=*/*.parquet")
    )
    return has_parts or ((path / TOPIC).is_file() and (path / LOCK).exists())


class ArchiveFolder:
    """An archive on disk. Several processes may write it: a lock and the names keep them apart.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     archive = ArchiveFolder(Path(folder))
    ...     archive.open_partition(0), archive.partitions()
    (None, [0])
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def partitions(self) -> list[int]:
        """The partitions that have a folder. Raises NextclickError when there is no archive."""
        try:
            found = [PARTITION.fullmatch(path.name) for path in self.root.iterdir()]
        except OSError as error:
            raise NextclickError(
                f"the archive {self.root} cannot be read: {error.strerror}",
                "No event was read.",
                "Name the folder that `nextclick archive --folder` writes.",
            ) from None
        return sorted(int(name[1]) for name in found if name)

    def parts(self, partition: int) -> list[Part]:
        """The parts of a partition in order. Raises NextclickError on a gap or an overlap."""
        folder = self._folder(partition)
        names = [(path, NAME.fullmatch(path.name)) for path in (folder.iterdir() if folder.is_dir() else ())]
        parts = sorted(Part(partition, int(name[1]), int(name[2]), path) for path, name in names if name)
        for before, after in pairwise(parts):
            if before.end != after.first:
                kind = "a gap" if before.end < after.first else "an overlap"
                raise NextclickError(
                    f"the archive {folder} has {kind}: offsets {before.first} to {before.end}, "
                    f"then {after.first} to {after.end}",
                    "Files were removed, renamed or copied in: events would be missing or double.",
                    "Restore the folder from a backup, or archive anew into an empty one.",
                )
        return parts

    def end(self, partition: int) -> int | None:
        """The offset after the last archived one, None for an empty partition."""
        parts = self.parts(partition)
        return parts[-1].end if parts else None

    def open_partition(self, partition: int) -> int | None:
        """Make the partition's folder, and remove unfinished files of killed archivers. Returns `end`."""
        folder = self._folder(partition)
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self.root)
        with self._lock(folder):
            for path in folder.glob(f"*{UNFINISHED}"):
                path.unlink()
        return self.end(partition)

    def belong_to(self, topic: str, topic_id: str, session_gap_s: float | None = None) -> None:
        """Make the folder the archive of this topic. Raises NextclickError when it is another topic's.

        A topic that was deleted and created again has another id: its offsets mean other records.
        An id that is not known, of brokers without ids, may be any. `session_gap_s` is its decoder's.
        """
        path = self.root / TOPIC
        said = {} if session_gap_s is None else {"session_gap_s": session_gap_s}
        with self._lock(self.root):
            if not path.exists():
                self._say({"topic": topic, "id": topic_id, **said})
            known = json.loads(path.read_text())
        if known["topic"] != topic or is_other_topic(self.topic_id(), topic_id):
            raise NextclickError(
                f"{self.root} is the archive of {known['topic']} {known['id']}, not of {topic} {topic_id}",
                "The topic was made anew or is another one: its offsets mean other records.",
                "Archive it into a folder of its own: --folder.",
            )
        if said and known.get("session_gap_s") != session_gap_s:
            # Of an older archive, or by a mapping that was changed since: the newest word holds.
            with self._lock(self.root):
                self._say({**known, **said})

    def _say(self, known: dict[str, object]) -> None:
        path = self.root / TOPIC
        replace_durably(path, json.dumps(known).encode(), path.with_suffix(UNFINISHED))

    def _known(self, name: str) -> object:
        """What the folder says of its topic; None where it does not."""
        try:
            return json.loads((self.root / TOPIC).read_text()).get(name)
        except (FileNotFoundError, ValueError, AttributeError):
            return None

    def session_gap_s(self) -> float | None:
        """The silence that ends a session of these events, see EventDecoder; None: not recorded."""
        kept = self._known("session_gap_s")
        return float(kept) if isinstance(kept, int | float) else None

    def topic_id(self) -> str:
        """The id of the archived topic; UNKNOWN where the brokers had none, or it is not recorded."""
        kept = str(self._known("id") or UNKNOWN)
        # Brokers without ids answer with NO_ID, which older archives have kept.
        return UNKNOWN if kept == NO_ID else kept

    def unfinished(self, partition: int) -> Path:
        """A path for a part while it is written."""
        return self._folder(partition) / f".{os.getpid()}-{time.monotonic_ns()}{UNFINISHED}"

    def publish(self, unfinished: Path, partition: int, first: int, end: int) -> Part:
        """Name a part that is whole and durable. Raises NextclickError if it does not follow the newest one.

        This refuses an archiver that hung and lost its partition to another one.
        """
        folder = self._folder(partition)
        part = Part(partition, first, end, folder / f"{first:020}-{end:020}.parquet")
        with self._lock(folder):
            newest = self.end(partition)
            if not unfinished.exists() or newest not in (None, first):
                unfinished.unlink(missing_ok=True)
                raise NextclickError(
                    f"offsets {first} to {end} do not go on from {folder}, which ends at {newest}",
                    "Another archiver has taken the partition over, so this one gives way; nothing is lost.",
                    "Start it again; one folder is for one group (NEXTCLICK_GROUP_ID) of archivers.",
                )
            unfinished.rename(part.path)
            reach("archive-4-named")
            sync_folder(folder)
        return part

    @contextmanager
    def rewriting(self) -> Iterator[None]:
        """The right to write parts again. Raises NextclickError where another process has it."""
        try:
            file = (self.root / REWRITE_LOCK).open("ab")
        except OSError as error:
            raise NextclickError(
                f"the archive {self.root} cannot be read: {error.strerror}",
                "Nothing was changed.",
                "Name the folder that `nextclick archive --folder` writes.",
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NextclickError(
                    f"another process writes files of the archive {self.root} again",
                    "Two at once would undo each other's work. Nothing was changed in the archive.",
                    "Run the command again when the other `nextclick forget` has ended.",
                ) from None
            yield

    def replace(self, part: Part, unfinished: Path) -> None:
        """Put a file that is whole in the place of a part, for the same offsets, at once and durably."""
        with self._lock(part.path.parent):
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            unfinished.replace(part.path)
            sync_folder(part.path.parent)

    def _folder(self, partition: int) -> Path:
        return self.root / f"partition={partition}"

    @contextmanager
    def _lock(self, folder: Path) -> Iterator[None]:
        """Exclusive access to a folder. Raises NextclickError when another process holds it too long."""
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        with (folder / LOCK).open("ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise NextclickError(
                            f"{file.name} is held by another process for {LOCK_TIMEOUT_S:.0f} s",
                            "Another archiver hangs while it names a part.",
                            "Look for a stopped `nextclick archive`, end it, and start this one again.",
                        ) from None
                time.sleep(LOCK_POLL_S)
            yield
