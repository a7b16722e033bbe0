"""The checkpoint file of a replay: how much of the log the topic is known to hold.

A crash never damages the file. Knows the file, its lock and the identity it must agree with; knows no
Kafka.

Tested by tests/faults/test_interrupted_replay.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from model.durable import replace_durably
from model.errors import NextclickError
from replay.reading.packed_files import parts_of
from stream.kafka.topic_id import UNKNOWN
from stream.logs import happening

VERSION = 1
# A checkpoint from before topic ids were kept has none, and brokers without ids name none.
TOPIC_ID = "topic_id"
ENDS_BYTES = 1 << 20
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """How far a replay is: the events before it are in the topic, at offsets before `offsets`.

    `loop` and `row` say where the next event is in the log; `offsets` are the next offsets of the
    topic's partitions; `last` is a digest of the event before, which reveals a changed log.
    """

    loop: int = 0
    row: int = 0
    events: int = 0
    offsets: dict[int, int] = field(default_factory=dict)
    last: str = ""
    shift_ms: int = 0
    period_ms: int | None = None
    dead_letters: int = 0
    finished: bool = False


class CheckpointFile:
    """A checkpoint file, locked by one replay at a time: a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> CheckpointFile:
        try:
            self._lock = self.path.with_name(f"{self.path.name}.lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NextclickError(
                f"another replay holds {self.path}",
                "Two replays with one checkpoint would send every event twice.",
                "Wait for it, or name another --checkpoint.",
            ) from None
        except OSError as error:
            raise NextclickError(
                f"the checkpoint {self.path} cannot be written: {error.strerror}",
                "An interrupted replay could not go on; nothing was sent.",
                "Name a file in a folder that exists.",
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def read(self, identity: dict[str, Any]) -> Position | None:
        """The position in the file; None when there is no file.

        Raises NextclickError when it is damaged, or when its identity is not `identity`; a topic id that
        is not known on either side may be the same.
        """
        try:
            content = json.loads(self.path.read_bytes())
            digest = content.pop("sha256")
            whole = digest == _digest(content)
            kept = {**content["position"]}
            kept["offsets"] = {int(number): offset for number, offset in kept["offsets"].items()}
            position = Position(**kept)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole, content = False, {}
        if not whole or content.get("version") != VERSION:
            raise NextclickError(
                f"the checkpoint {self.path} is damaged, or of another version",
                "It is not known what the topic holds already; nothing was sent.",
                "Replay into an empty topic without it, or bring back a copy: an older one will do.",
            )
        kept_identity = content["identity"]
        changed = [name for name, value in identity.items() if kept_identity.get(name) != value]
        if TOPIC_ID in changed and UNKNOWN in (kept_identity.get(TOPIC_ID, UNKNOWN), identity[TOPIC_ID]):
            changed.remove(TOPIC_ID)
            if identity[TOPIC_ID] != UNKNOWN:
                logger.warning(
                    "the checkpoint %s names no topic, as older ones do; it is taken for one of %s",
                    self.path,
                    identity[TOPIC_ID],
                    extra=happening("topic_adopted", checkpoint=str(self.path), topic_id=identity[TOPIC_ID]),
                )
        if changed:
            raise NextclickError(
                f"the checkpoint {self.path} belongs to another replay: {', '.join(changed)} "
                f"{'differ' if len(changed) > 1 else 'differs'}",
                "What it says of the topic does not hold for this one; nothing was sent.",
                "Replay as before, or name another --checkpoint.",
            )
        return position

    def write(self, identity: dict[str, Any], position: Position) -> None:
        """Write a position durably. Raises NextclickError when it cannot be written."""
        content = {"version": VERSION, "identity": identity, "position": asdict(position)}
        kept = json.dumps({**content, "sha256": _digest(content)}, indent=1).encode()
        try:
            replace_durably(self.path, kept, self.path.with_name(f"{self.path.name}.unfinished"))
        except OSError as error:
            raise NextclickError(
                f"the checkpoint {self.path} could not be written: {error.strerror}",
                "The replay ends here; the checkpoint before this one still holds.",
                "Make room, then start the same replay again.",
            ) from None


def fingerprint(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What identifies files in any folder: name, size, and a digest of both ends.

    Raises NextclickError when a file cannot be read.

    >>> [mark] = fingerprint([Path("/dev/null")])
    >>> mark["name"], mark["bytes"]
    ('null', 0)
    """
    marks = []
    for path in [part for named in paths for part in parts_of(named)]:
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                digest = hashlib.sha256(file.read(ENDS_BYTES))
                file.seek(max(0, size - ENDS_BYTES))
                digest.update(file.read(ENDS_BYTES))
        except OSError as error:
            raise NextclickError(
                f"{path} cannot be opened: {error.strerror}", "Nothing was read.", "Check the path."
            ) from None
        marks.append({"name": path.name, "bytes": size, "sha256_of_ends": digest.hexdigest()})
    return marks


def _digest(content: dict[str, Any]) -> str:
    # Through JSON once, as the file has it: there the keys of offsets are texts.
    return hashlib.sha256(json.dumps(json.loads(json.dumps(content)), sort_keys=True).encode()).hexdigest()
