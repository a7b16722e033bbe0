"""The settings of synthetic shoppers, and the truth known of their log.

Tested by tests/unit/replay/synthetic/test_shopper_stream.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from model.errors import NextclickError

PREFIX = "synthetic:"
SUCCESSORS = 5


@dataclass(frozen=True)
class ShopperSettings:
    """What a synthetic log is like. `rate` is events per second of event time.

    >>> ShopperSettings.parse("synthetic:events=1e3,seed=7").events
    1000
    """

    events: int = 1_000_000
    items: int = 10_000
    rate: float = 1_000.0
    mean_length: float = 6.0
    mean_gap_s: float = 30.0
    noise: float = 0.1
    skew: float = 0.8
    births: float = 0.0
    bots: float = 0.0
    late: float = 0.0
    late_s: float = 600.0
    duplicates: float = 0.0
    start_ms: int = 1_700_000_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        shares = ("noise", "bots", "late", "duplicates")
        wrong = [name for name in shares if not 0 <= getattr(self, name) < 1]
        positive = ("events", "rate", "mean_gap_s", "late_s")
        wrong += [name for name in positive if not 0 < getattr(self, name) < float("inf")]
        wrong += [
            name for name in ("skew", "births", "start_ms") if not 0 <= getattr(self, name) < float("inf")
        ]
        wrong += ["mean_length"] if not self.mean_length >= 1 else []
        wrong += ["items"] if self.items < 2 * SUCCESSORS else []
        if wrong:
            raise NextclickError(
                "; ".join(f"{name} is {getattr(self, name)}" for name in wrong),
                f"Shares lie between 0 and 1, lengths and rates above 0; at least {2 * SUCCESSORS} items.",
                "Correct them; `nextclick synthetic --help` says what each is.",
            )

    @classmethod
    def parse(cls, text: str) -> ShopperSettings:
        """The settings in `synthetic:events=1e6,rate=500`. Raises NextclickError at an unknown one."""
        default = cls()
        known = {one.name: type(getattr(default, one.name)) for one in fields(cls)}
        given: dict[str, Any] = {}
        for part in filter(None, text.removeprefix(PREFIX).split(",")):
            name, _, value = part.partition("=")
            try:
                given[name] = known[name](float(value))
            except (KeyError, ValueError, OverflowError):
                raise NextclickError(
                    f"{part!r} in {text!r} is no setting of made-up shoppers",
                    f"Known are {', '.join(known)}, each with a number.",
                    f"Write for instance {PREFIX}events=1000000,rate=500,bots=0.001.",
                ) from None
        return replace(default, **given)


@dataclass
class Truth:
    """What is known of the shoppers' events made so far, without bots and repeats.

    `best_recall` is the expected Recall@20 of the best lists, which no recommender beats in the long
    run; `best_hits` counts the next events that these lists contained.
    """

    sessions: int = 0
    bot_sessions: int = 0
    items: int = 0
    next_events: int = 0
    expected_hits: float = 0.0
    best_hits: int = 0
    late: int = 0
    duplicates: int = 0

    @property
    def best_recall(self) -> float:
        """The expected Recall@20 of the best lists."""
        return self.expected_hits / self.next_events if self.next_events else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The truth as plain values, with the expected recall and that of this log."""
        observed = self.best_hits / self.next_events if self.next_events else 0.0
        return {
            **self.__dict__,
            "best_recall_at_20": self.best_recall,
            "best_recall_at_20_of_this_log": observed,
        }
