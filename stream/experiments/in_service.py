"""What serves a wave: the champion, and in an experiment the challenger beside it.

Knows nothing of the versions but the columns that they read.
Tested by tests/unit/stream/wave/test_sides.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from stream.experiments.experiment import CHALLENGER, Experiment


class ReadsColumns(Protocol):
    """A version: `columns` are what it reads of an event beside the item."""

    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102


Version = TypeVar("Version", bound=ReadsColumns)


@dataclass(frozen=True)
class VersionsOfWave(Generic[Version]):
    """The versions of one wave; both are there while an experiment is served."""

    champion: Version
    challenger: Version | None = None
    experiment: Experiment | None = None

    def side_of(self, session_id: str) -> str:
        """The side of the experiment that a session is on, "" where it is in none."""
        return "" if self.experiment is None else self.experiment.side_of(session_id)

    def of(self, side: str) -> Version:
        """The version that serves a side; of interleaved lists the champion, whose state is the session's."""
        return self.challenger if self.challenger is not None and side == CHALLENGER else self.champion

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of both, the champion's first."""
        more = () if self.challenger is None else self.challenger.columns
        return tuple(dict.fromkeys((*self.champion.columns, *more)))
