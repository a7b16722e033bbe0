"""An experiment as it is announced: champion and challenger, the share of sessions, and the mode.

A hash of the session id, salted with the experiment's id, decides the side. So every worker decides alike,
again after a crash, a whole session stays on its side, and experiments are independent of each other. It
applies only while `champion` serves: whatever else serves, serves every session.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Literal

import msgspec

Mode = Literal["split", "interleave"]
SPLIT: Mode = "split"
INTERLEAVE: Mode = "interleave"
CHAMPION, CHALLENGER, INTERLEAVED = "champion", "challenger", "interleaved"
SIDES = (CHAMPION, CHALLENGER, INTERLEAVED)
# The propensity of a place of an interleaved list: either side is as likely to own it.
EVEN = 0.5

# What a list of an experiment says in its headers, read as text, in JSON Schema.
HEADERS: dict[str, dict[str, object]] = {
    "experiment": {
        "type": "string",
        "minLength": 1,
        "description": "the experiment that the list is part of",
    },
    "side": {"enum": list(SIDES), "description": "the session's side in it"},
    "propensity": {
        "type": "string",
        "pattern": r"^[0-9.e-]+$",
        "description": "how likely that side was; of an interleaved list, that a side owns a place",
    },
    "owners": {
        "type": "string",
        "pattern": "^[AB-]*$",
        "description": "of an interleaved list, place by place: A champion, B challenger, - a rule",
    },
}
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Experiment(msgspec.Struct, frozen=True):
    """The value under "experiment" on `models`; `experiment` is its id, and the salt of its hashes.

    >>> half = Experiment("e1", "v1", "v2", 0.5, "split")
    >>> half.side_of("a session"), half.side_of("another one"), half.propensity("champion")
    ('challenger', 'champion', 0.5)
    """

    experiment: Name
    champion: Name
    challenger: Name
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    mode: Mode

    def side_of(self, session_id: str) -> str:
        """The side of a session; "" for one that an interleaved experiment leaves alone."""
        if _fraction(self.experiment, session_id) < self.share:
            return INTERLEAVED if self.mode == INTERLEAVE else CHALLENGER
        return "" if self.mode == INTERLEAVE else CHAMPION

    def propensity(self, side: str) -> float:
        """How likely the side was to get a session; of interleaved lists, to own a place."""
        if side == INTERLEAVED:
            return EVEN
        return self.share if side == CHALLENGER else round(1 - self.share, 12)

    def headers(self, side: str) -> tuple[tuple[str, bytes], ...]:
        """What a list of a side says of the experiment."""
        return (
            ("experiment", self.experiment.encode()),
            ("side", side.encode()),
            ("propensity", b"%g" % self.propensity(side)),
        )


def _fraction(salt: str, session_id: str) -> float:
    """A number of [0, 1) that is fixed for a session, and independent of other salts' numbers."""
    digest = blake2b(session_id.encode(), digest_size=8, key=blake2b(salt.encode(), digest_size=16).digest())
    return int.from_bytes(digest.digest()) / 2**64


def encode_experiment(experiment: Experiment) -> bytes:
    """The value that announces an experiment."""
    return msgspec.json.encode(experiment)


def decode_experiment(value: bytes | None) -> Experiment | None:
    """The experiment in a value under "experiment", None when it ends one. Raises msgspec.DecodeError."""
    return msgspec.json.decode(value, type=Experiment) if value else None
