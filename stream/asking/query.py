"""What is asked, checked before anything is computed, and refusals in three parts.

A parameter that is unknown, repeated or out of bounds is refused by name: an answer is never one to
another question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from model.config import LIST_LENGTH

MAX_ID_CHARACTERS = 256
MOST_LISTED = 100
MOST_EXCLUDED = 200
MOST_CANDIDATES = 1000
# `await` is of the page, see stream.web.api.
LIST_PARAMETERS = ("placement", "k", "category", "exclude", "await")
SIMILAR_PARAMETERS = ("k", "exclude")
TRY_PARAMETERS = ("session", "item", "user", "placement", "about")
MOST_TRIED = 50
NOTHING_MADE = "Nothing was computed."


class Refusal(Exception):
    """Why a request has no answer: HTTP status, what happened, what it means, what to do.

    `outcome` is its name in the metrics; `again_s` the seconds after which to try again, if it may help.

    >>> Refusal(400, "k is 0", "Nothing was computed.", "Ask for 1 to 100.").body["do"]
    'Ask for 1 to 100.'
    """

    def __init__(
        self, status: int, error: str, meaning: str, do: str, *, outcome: str = "refused", again_s: int = 0
    ) -> None:
        super().__init__(error)
        self.status, self.outcome, self.again_s = status, outcome, again_s
        self.body = {"error": error, "meaning": meaning, "do": do}


class Parameters(Protocol):
    """The query of a URL: aiohttp's MultiDict."""

    def keys(self) -> Iterable[str]:
        """The names, a repeated one as often as it is there."""

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """All values of a name."""


@dataclass(frozen=True)
class ListQuery:
    """A list for a session: of a placement, a length and a category if given, without the items `exclude`."""

    session_id: str
    k: int | None = None
    category: str | None = None
    exclude: tuple[str, ...] = ()
    placement: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether what is asked for is the list that a wave publishes, or the beginning of it."""
        named = self.placement is not None or self.category is not None or self.exclude
        return (self.k or LIST_LENGTH) <= LIST_LENGTH and not named

    @classmethod
    def read(cls, session_id: str, parameters: Parameters) -> ListQuery:
        """The query of a URL. Raises Refusal."""
        _check_names(parameters, LIST_PARAMETERS)
        category = _one(parameters, "category")
        if category is not None and not 1 <= len(category) <= MAX_ID_CHARACTERS:
            raise _bad(f"category has {len(category)} characters", f"Give 1 to {MAX_ID_CHARACTERS}.")
        session_id = _checked_id("session", session_id)
        placement = _one(parameters, "placement")
        return cls(session_id, _k(parameters), category, _excluded(parameters), placement)


@dataclass(frozen=True)
class SimilarQuery:
    """At most `k` items similar to one, without the items `exclude`."""

    item_id: str
    k: int = LIST_LENGTH
    exclude: tuple[str, ...] = ()

    @classmethod
    def read(cls, item_id: str, parameters: Parameters) -> SimilarQuery:
        """The query of a URL. Raises Refusal."""
        _check_names(parameters, SIMILAR_PARAMETERS)
        return cls(_checked_id("item", item_id), _k(parameters) or LIST_LENGTH, _excluded(parameters))


@dataclass(frozen=True)
class TryQuery:
    """What the rules do to the list of a session, or of these items by a user; and to the item `about`."""

    session_id: str | None
    items: tuple[str, ...] = ()
    user_id: str | None = None
    placement: str | None = None
    about: str | None = None

    @classmethod
    def read(cls, parameters: Parameters) -> TryQuery:
        """The query of a URL. Raises Refusal."""
        _check_names(parameters, TRY_PARAMETERS)
        session, items = _one(parameters, "session"), tuple(parameters.getall("item", []))
        if (session is None) == (not items) or len(items) > MOST_TRIED:
            raise _bad(
                "neither a session nor items, or both", f"Give session, or item 1 to {MOST_TRIED} times."
            )
        for what, one in (("session", session), *(("item", item) for item in items)):
            if one is not None:
                _checked_id(what, one)
        user, about = _one(parameters, "user"), _one(parameters, "about")
        for what, one in (("user", user), ("item", about)):
            if one is not None:
                _checked_id(what, one)
        return cls(session, items, user, _one(parameters, "placement"), about)


class RankQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Candidates to be brought into the order of a session."""

    session: str
    candidates: list[str]

    @classmethod
    def read(cls, body: bytes) -> RankQuery:
        """The query of a JSON body. Raises Refusal."""
        try:
            query = msgspec.json.decode(body, type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            do = 'Send {"session": ID, "candidates": [ITEM, …]}; /openapi.json describes it.'
            raise _bad(f"the body cannot be read: {error}", do) from None
        _checked_id("session", query.session)
        if not 1 <= len(query.candidates) <= MOST_CANDIDATES:
            raise _bad(f"there are {len(query.candidates)} candidates", f"Give 1 to {MOST_CANDIDATES}.")
        _check_ids("candidates", query.candidates)
        return query


def _check_names(parameters: Parameters, known: Sequence[str]) -> None:
    unknown = sorted({name for name in parameters.keys() if name not in known})  # noqa: SIM118 - a protocol
    if unknown:
        shown = ", ".join(name[:40] for name in unknown[:5])
        raise _bad(f"no such parameter: {shown}", f"Use {', '.join(n for n in known if n != 'await')}.")


def _one(parameters: Parameters, name: str) -> str | None:
    values = parameters.getall(name, [])
    if len(values) > 1:
        raise _bad(f"{name} is given {len(values)} times", "Give it once.")
    return values[0] if values else None


def _k(parameters: Parameters) -> int | None:
    text = _one(parameters, "k")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST_LISTED):
        raise _bad("k is no number in the bounds", f"Give 1 to {MOST_LISTED}.")
    return int(text)


def _excluded(parameters: Parameters) -> tuple[str, ...]:
    exclude = parameters.getall("exclude", [])
    if len(exclude) > MOST_EXCLUDED:
        raise _bad(f"exclude is given {len(exclude)} times", f"Give it up to {MOST_EXCLUDED} times.")
    if exclude:
        _check_ids("exclude", list(dict.fromkeys(exclude)))
    return tuple(exclude)


def _checked_id(what: str, value: str) -> str:
    if not 1 <= len(value) <= MAX_ID_CHARACTERS:
        raise _bad(f"the {what} id has {len(value)} characters", f"An id has 1 to {MAX_ID_CHARACTERS}.")
    return value


def _check_ids(name: str, ids: Sequence[str]) -> None:
    wrong = [place for place, one in enumerate(ids, 1) if not 1 <= len(one) <= MAX_ID_CHARACTERS]
    if wrong:
        do = f"An id has 1 to {MAX_ID_CHARACTERS} characters."
        raise _bad(f"{name}: no item id at place {wrong[0]}", do)
    if len(set(ids)) < len(ids):
        raise _bad(f"{name}: {len(ids) - len(set(ids))} items are there twice", "Give each once.")


def _bad(error: str, do: str) -> Refusal:
    return Refusal(400, error, NOTHING_MADE, do)
