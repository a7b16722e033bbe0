"""The error for users: what happened, what it means, what to do.

Code raises it for problems that a user can solve: a broken file, a missing broker, a corrupt model.
The command line prints the three parts and exits with code 2. A programming error is never wrapped
in it.

Tested by tests/integration/test_command_line.py.
"""

from __future__ import annotations


class NextclickError(Exception):
    """A user-facing problem in three parts.

    `what` happened, with the values; its `meaning`; the `remedy`.

    >>> print(NextclickError("a.csv is empty", "There is nothing to learn from.", "Name another file."))
    a.csv is empty
    There is nothing to learn from.
    Name another file.
    """

    def __init__(self, what: str, meaning: str, remedy: str) -> None:
        super().__init__(f"{what}\n{meaning}\n{remedy}")
        self.what = what
        self.meaning = meaning
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[NextclickError], tuple[str, str, str]]:
        """Pickle the three parts only, so that a subclass reaches another process as NextclickError."""
        return NextclickError, (self.what, self.meaning, self.remedy)
