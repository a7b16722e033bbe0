"""What became of the records that an ingester has taken.

Tested by tests/faults/test_ingest.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class IngestReport:
    """What became of the records, counted once it is committed.

    taken = given on + left out + dead-lettered; a record that was given on is one event or several. `lag` is
    of the partitions of this ingester, `waiting` why some of them stand still. `begun_anew` are partitions
    whose committed offset was of a topic before this one. `taken_of` and `lag_of` are the same by topic,
    `committed` and `aborted` the transactions that counted and those whose records are read again.

    >>> IngestReport(taken=3, given_on=2, left_out=Counter(no_item=1)).difference
    0
    """

    taken: int = 0
    given_on: int = 0
    events: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    dead_lettered: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    begun_anew: int = 0
    lag: int = 0
    taken_of: Counter[str] = field(default_factory=Counter)
    lag_of: Mapping[str, int] = field(default_factory=dict)
    committed: int = 0
    aborted: int = 0
    waiting: str = ""

    @property
    def difference(self) -> int:
        """Records taken that nothing accounts for: other than 0 is a defect."""
        return self.taken - self.given_on - self.left_out.total() - self.dead_lettered.total()

    def add(self, batch: IngestReport) -> None:
        """Count a batch of records whose transaction is committed now."""
        self.taken += batch.taken
        self.given_on += batch.given_on
        self.events += batch.events
        self.left_out += batch.left_out
        self.dead_lettered += batch.dead_lettered
        # A topic of which nothing has come stays, with 0.
        self.taken_of.update(batch.taken_of)
        self.committed += 1
