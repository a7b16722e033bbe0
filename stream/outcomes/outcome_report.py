"""What became of the lists that a recorder has read, counted once it is committed.

Tested by tests/faults/test_outcomes.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from stream.outcomes.outcome_join import JoinCounts


@dataclass
class OutcomeReport(JoinCounts):
    """lists = outcomes + left out; `lost` are records of a topic that retention removed unread.

    `lag` are records of events that are not read yet, `waiting` lists whose time is not over, or whose
    event is not read yet, and `kept` events in memory, of the partitions of this recorder.

    >>> OutcomeReport(lists=3, outcomes=2, left_out=Counter(repeated=1)).difference
    0
    """

    lost: Counter[str] = field(default_factory=Counter)
    lag: int = 0
    waiting: int = 0
    kept: int = 0

    @property
    def difference(self) -> int:
        """Lists that nothing accounts for: other than 0 is a defect."""
        return self.lists - self.outcomes - self.left_out.total()

    def add(self, counts: JoinCounts) -> None:
        """Add what is committed now."""
        self.lists += counts.lists
        self.outcomes += counts.outcomes
        self.left_out += counts.left_out
        self.closed_early += counts.closed_early
        self.events += counts.events
        self.late_events += counts.late_events
