"""The error that people read: what happened, what it means, what to do.

Raised for problems that a user can act on (a broken file, a missing broker, a corrupt
model). The command line prints the three parts and exits with code 2. Programming errors
are never wrapped in it.
"""

from __future__ import annotations


class NextclickError(Exception):
    """A user-facing problem in three parts.

    `what` happened, with the values; its `meaning`; the `remedy`.
    """

    def __init__(self, what: str, meaning: str, remedy: str) -> None:
        super().__init__(f"{what}\n{meaning}\n{remedy}")
        self.what = what
        self.meaning = meaning
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[NextclickError], tuple[str, str, str]]:
        """As it goes to another process: its three parts, whatever its class."""
        return NextclickError, (self.what, self.meaning, self.remedy)
