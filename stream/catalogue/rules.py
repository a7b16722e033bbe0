"""What may be listed, for whom, in which order: a small file of TOML, checked whole when it is read.

Knows no item and no model; the catalogue holds items against `never`, a version's lists follow the rest.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from model.config import LIST_LENGTH
from model.errors import NextclickError
from stream.events import DISMISS, PLACEMENT, PURCHASE

SEPARATOR = "/"
DAY_MS = 86_400_000
MOST_BOUGHT_DAYS = 365
# Of the placements: each is another list after every event.
MOST_PUBLISHED = 8
Text = Annotated[str, Field(min_length=1, max_length=256)]
PlacementName = Annotated[str, Field(pattern=PLACEMENT)]
Value = Text | bool | float


class Part(BaseModel):
    """A part of the file; a name that it does not know is a problem."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Never(Part):
    """Items that no list has: not available, without a word, of a category, brand, attribute or age."""

    unavailable: bool = True
    without_word: bool = False
    categories: tuple[Text, ...] = Field((), strict=False)
    brands: tuple[Text, ...] = Field((), strict=False)
    attributes: dict[Text, Annotated[tuple[Value, ...], Field(strict=False)]] = Field(default_factory=dict)
    older_than_days: float | None = Field(None, gt=0)


class Session(Part):
    """What a session is not shown: what it has seen (None: as the version was trained), bought, dismissed.

    `bought_days`: what its user has bought in that many days, in whichever session.
    """

    seen: bool | None = None
    bought: bool = False
    bought_days: float | None = Field(None, gt=0, le=MOST_BOUGHT_DAYS)
    dismissed: bool = True

    @property
    def hidden_kinds(self) -> frozenset[str]:
        """The kinds of events whose items the session is not shown again."""
        return frozenset(
            kind
            for kind, hides in (
                (PURCHASE, self.bought or self.bought_days is not None),
                (DISMISS, self.dismissed),
            )
            if hides
        )

    @property
    def bought_ms(self) -> int | None:
        """`bought_days` in milliseconds."""
        return None if self.bought_days is None else int(self.bought_days * DAY_MS)


class Cap(Part):
    """At most so many of one brand, or of one category, by the first `depth` names of its path."""

    per: Literal["brand", "category"]
    most: int = Field(ge=1, le=LIST_LENGTH)
    depth: int | None = Field(None, ge=1, le=20)

    @model_validator(mode="after")
    def _depth_of_category(self) -> Cap:
        if self.depth is not None and self.per != "category":
            raise ValueError("depth is of a category's path")
        return self


class Timed(Part):
    """What ends at a moment of the wall clock, if it has an end."""

    until: datetime | None = None

    @field_validator("until")
    @classmethod
    def _has_zone(cls, until: datetime | None) -> datetime | None:
        if until is not None and until.tzinfo is None:
            raise ValueError("a moment needs its zone, 2026-12-24T18:00:00+01:00 or …Z")
        return until

    @property
    def until_ms(self) -> float:
        """The end in epoch milliseconds, infinity without one."""
        return float("inf") if self.until is None else self.until.timestamp() * 1000


class Pin(Timed):
    """An item that has its place, from 1, in every list."""

    item: Text
    place: int = Field(ge=1, le=LIST_LENGTH)


class Boost(Timed):
    """An item, or those of a brand or a category, come up by so many places."""

    up: int = Field(ge=1, le=100)
    item: Text | None = None
    brand: Text | None = None
    category: Text | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Boost:
        if sum(name is not None for name in (self.item, self.brand, self.category)) != 1:
            raise ValueError("name one of item, brand, category")
        return self


class Fallback(Part):
    """Items that fill a list with fewer than 20, before popular ones do."""

    items: tuple[Text, ...] = Field((), strict=False)


def _check_once(caps: tuple[Cap, ...], pins: tuple[Pin, ...]) -> None:
    """Raise ValueError with what is there twice."""
    problems = [
        f"{what} twice: {value}"
        for what, values in (
            ("a cap per", [cap.per for cap in caps]),
            ("pinned to place", [str(pin.place) for pin in pins]),
            ("pinned", [pin.item for pin in pins]),
        )
        for value, count in Counter(values).items()
        if count > 1
    ]
    if problems:
        raise ValueError("; ".join(problems))


class Without(Part):
    """Items that the lists of a placement have not, beside those that no list has."""

    categories: tuple[Text, ...] = Field((), strict=False)
    brands: tuple[Text, ...] = Field((), strict=False)
    attributes: dict[Text, Annotated[tuple[Value, ...], Field(strict=False)]] = Field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether it names nothing."""
        return not (self.categories or self.brands or self.attributes)


class Placement(Part):
    """A named list, made when it is asked for: its length, where its items come from, rules of its own.

    `published`: also on a topic of its own after every event. `source`: the session's list, items similar
    to its newest one, or popular items. What it names of caps,
    pins, boosts and fallbacks takes the place of the file's; `never` comes beside the file's.
    """

    length: int = Field(LIST_LENGTH, ge=1, le=100)
    published: bool = False
    source: Literal["session", "similar", "popular"] = "session"
    category: Text | None = None
    never: Without = Without()
    cap: tuple[Cap, ...] | None = Field(None, strict=False)
    pin: tuple[Pin, ...] | None = Field(None, strict=False)
    boost: tuple[Boost, ...] | None = Field(None, strict=False)
    fallback: Fallback | None = None

    @model_validator(mode="after")
    def _agree(self) -> Placement:
        _check_once(self.cap or (), self.pin or ())
        return self


class Rules(Part):
    """All rules of a file; `version` is the beginning of the file's SHA-256, "" without a file.

    >>> Rules.parse('[[cap]]\\nper = "brand"\\nmost = 5').cap[0].most
    5
    """

    version: str = ""
    never: Never = Never()
    session: Session = Session()
    cap: tuple[Cap, ...] = Field((), strict=False)
    pin: tuple[Pin, ...] = Field((), strict=False)
    boost: tuple[Boost, ...] = Field((), strict=False)
    fallback: Fallback = Fallback()
    placement: dict[PlacementName, Placement] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agree(self) -> Rules:
        _check_once(self.cap, self.pin)
        if len(self.published) > MOST_PUBLISHED:
            raise ValueError(
                f"placement: {len(self.published)} are published after every event, {MOST_PUBLISHED} at most"
            )
        return self

    @property
    def published(self) -> dict[str, Placement]:
        """The placements whose lists are published after every event, in the order of their names."""
        return {name: one for name, one in sorted(self.placement.items()) if one.published}

    def of(self, placement: Placement | None) -> Rules:
        """The rules of the lists of a placement.

        >>> rules = Rules.parse('[[cap]]\nper = "brand"\nmost = 5\n[placement.basket]\ncap = []')
        >>> len(rules.cap), len(rules.of(rules.placement["basket"]).cap)
        (1, 0)
        """
        if placement is None:
            return self
        named = {name: getattr(placement, name) for name in ("cap", "pin", "boost", "fallback")}
        return self.model_copy(update={name: value for name, value in named.items() if value is not None})

    @classmethod
    def parse(cls, text: str, version: str = "") -> Rules:
        """Read rules. Raises ValueError with every problem."""
        try:
            data = tomllib.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply to be read") from None
        if "version" in data:
            raise ValueError("version: no such rule")
        try:
            return cls(version=version, **data)
        except ValidationError as error:
            raise ValueError("; ".join(_problem(dict(one)) for one in error.errors())) from None

    @property
    def orders(self) -> bool:
        """Whether lists are chosen from more than 20 items."""
        return bool(self.cap or self.boost)

    @property
    def ends_ms(self) -> list[float]:
        """The moments when a pin or a boost ends."""
        return [timed.until_ms for timed in (*self.pin, *self.boost)]


NO_RULES = Rules()


def read_rules(path: Path) -> Rules:
    """The rules of a file. Raises NextclickError with every problem of it."""
    try:
        data = path.read_bytes()
        return Rules.parse(data.decode(), hashlib.sha256(data).hexdigest()[:12])
    except (OSError, ValueError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise NextclickError(
            f"the rules in {path} cannot be followed: {why}",
            "None of them holds; rules that were read before go on.",
            "Correct what is named; deploy/docs/what_may_be_listed.md shows every rule.",
        ) from None


def is_within(path: str | None, category: str) -> bool:
    """Whether a category's path is another one, or leads through it.

    >>> is_within("home/kitchen/mugs", "home/kitchen"), is_within("home/kitchens", "home/kitchen")
    (True, False)
    """
    return path is not None and (path == category or path.startswith(category + SEPARATOR))


def _problem(error: dict[str, Any]) -> str:
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in error["loc"])
    text = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        text = "no such rule"
    return f"{place}: {text}" if place else text
