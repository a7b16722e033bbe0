"""How many sequences and events a comparison learned from and ranked: numbers that add up.

Tested by tests/unit/model/comparison/test_comparison_table.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.data.splits import LogSplit
from model.evaluation.rank_targets import Ranks


@dataclass(frozen=True)
class Counts:
    """Of the training part: sequences, events, next events, and those held out to stop early.

    Of the test part: sequences, events, and what became of them: `ranked` targets, `unknown` targets left
    out, and `leading` events, which only lead up to a target (or have none): these three add up to the
    test events.
    """

    training_sequences: int
    training_events: int
    training_targets: int
    held_out_targets: int
    test_sequences: int
    test_events: int
    ranked: int
    unknown: int
    leading: int

    @classmethod
    def of(cls, log: LogSplit, ranks: Ranks, *, held_out: int = 0, all_items: bool = False) -> Counts:
        """Count both parts of a log; `ranks` are those of any model on the test part."""
        training, test, _ = log
        unknown = 0 if all_items else ranks.unknown
        ranked, events = len(ranks.ranks), len(test.items)
        return cls(
            len(training),
            len(training.items),
            training.pairs,
            held_out,
            len(test),
            events,
            ranked,
            unknown,
            events - ranked - unknown,
        )

    def __str__(self) -> str:
        """Returns two sentences."""
        held = f", {self.held_out_targets:,} of them held out to stop early" if self.held_out_targets else ""
        return (
            f"Training: {self.training_sequences:,} sequences of {self.training_events:,} events, "
            f"{self.training_targets:,} next events{held}. Test: {self.test_sequences:,} sequences of "
            f"{self.test_events:,} events = {self.ranked:,} next events ranked + {self.unknown:,} of unknown "
            f"items left out + {self.leading:,} that only lead up to one."
        )
