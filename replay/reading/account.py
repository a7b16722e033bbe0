"""The account of a file that was read: every line is given, left out for a reason, or lost.

Tested by tests/cases/test_accounts.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from model.errors import NextclickError

# A file of which more than half cannot be read is not of its format, except for so few lines.
MOST_UNREADABLE = 0.5
FEW_LINES = 9


@dataclass
class FileAccount:
    """What became of the lines of a file: lines = header + blank + continued + given + left_out.

    bytes      of the decompressed file; `size` is what the file system says of a file not compressed
    continued  further lines of records of several lines
    given      rows that became events (or metadata), before any filter
    left_out   rows and lines with a reason, which the counts of rejects name
    float_ids  ids that were written as floats, 4.0, and read as integers

    >>> FileAccount(lines=4, header=1, given=2, left_out=1).lost
    0
    """

    bytes: int = 0
    size: int | None = None
    lines: int = 0
    header: int = 0
    blank: int = 0
    continued: int = 0
    given: int = 0
    left_out: int = 0
    unreadable: int = 0
    float_ids: int = 0

    @property
    def lost(self) -> int:
        """Lines that became nothing and have no reason; below 0 where lines became more rows than one."""
        accounted = self.header + self.blank + self.continued + self.given + self.left_out
        return self.lines - accounted

    def check(
        self, path: Path, most_unreadable: float = MOST_UNREADABLE, rejects: Mapping[str, int] | None = None
    ) -> None:
        """Raise NextclickError when lines or bytes were lost, or when nearly nothing could be read."""
        if self.lost > 0:
            raise NextclickError(
                f"{path}: {self.lines:,} lines were read, and {self.lost:,} of them neither became rows "
                "nor were left out for a reason",
                f"The account of the file is {self.as_dict()}.",
                "This is a fault of nextclick: keep the file, and report it.",
            )
        if self.size is not None and self.bytes < self.size:
            raise NextclickError(
                f"{path}: {self.bytes:,} of its {self.size:,} bytes were read",
                "The rest of the file is lost.",
                "Check the disk, and read the file again.",
            )

        rows = self.given + self.left_out
        if self.unreadable > max(FEW_LINES, most_unreadable * rows):
            raise NextclickError(
                f"{path}: {self.unreadable:,} of {rows:,} lines cannot be read",
                f"What is left is not the log; left out: {dict(rejects or {})}.",
                "Name another --format or other --columns, or the share that may be lost: "
                "--on-error skip=0.9",
            )

    def as_dict(self) -> dict[str, int]:
        """The figures as plain values."""
        values = asdict(self)
        del values["size"]
        return {**values, "lost": self.lost}


def skipped_share(on_error: str) -> tuple[bool, float]:
    """Whether lines that cannot be read are skipped, and the largest share of a file that may be.

    Raises ValueError when `on_error` names neither. So few lines as FEW_LINES are always skipped.

    >>> skipped_share("skip"), skipped_share("dlq=0.9")
    ((True, 0.5), (True, 0.9))
    """
    name, named, share = on_error.partition("=")
    if name not in ("stop", "skip", "dlq") or (named and (name == "stop" or not 0 <= float(share) <= 1)):
        raise ValueError(on_error)
    return name != "stop", float(share) if named else MOST_UNREADABLE
