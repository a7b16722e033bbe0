"""The versions that this worker has taken out of service, in a file that outlives the process.

A version is withdrawn when Kafka refuses its lists as too large: the wave is stepped again after the
restart, by another version. The mark stays until the file is removed.

Tested by tests/unit/stream/wave/test_withdrawn_versions.py.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from model.durable import replace_durably
from model.registry.version_files import UNPUBLISHABLE, RefusedVersion
from stream.logs import happening

FILE = "withdrawn-versions.json"
logger = logging.getLogger(__name__)


class WithdrawnVersions:
    """The reasons by version, in the folder of the stores; a file that cannot be read names no version.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     withdrawn = WithdrawnVersions(Path(folder))
    ...     withdrawn.add("v1", "its lists are too large")
    ...     WithdrawnVersions(Path(folder)).reason("v1")
    'its lists are too large'
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / FILE

    def add(self, version: str, reason: str) -> None:
        """Withdraw a version; return when the disk has the mark."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        marks = {**self._read(), version: reason}
        replace_durably(self.path, msgspec.json.encode(marks), self.path.with_suffix(".unfinished"))

    def reason(self, version: str) -> str | None:
        """Why a version was withdrawn, None when it was not."""
        return self._read().get(version)

    def check(self, version: str) -> None:
        """Raises RefusedVersion for a version that was withdrawn."""
        reason = self.reason(version)
        if reason is not None:
            raise RefusedVersion(
                UNPUBLISHABLE,
                f"version {version} was taken out of service by this worker: {reason}",
                "Its lists could not be published; whatever served before goes on.",
                f"Promote another version; where the brokers take larger records now, remove {self.path}.",
            )

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            logger.warning(
                "%s cannot be read, no version counts as withdrawn: %s",
                self.path,
                error,
                extra=happening("withdrawn_unreadable", path=str(self.path), error=str(error)),
            )
            return {}
