"""The single rules of a file: each in words, and the rules as they would be without it.

Tested by tests/unit/stream/catalogue/test_rule_parts.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stream.catalogue.rules import Boost, Never, Pin, Placement, Rules, Without

NOTHING = Without()
# That keeps out nothing.
NEVER = Never(unavailable=False)


@dataclass(frozen=True)
class RulePart:
    """One rule: its name, in words, and what would hold without it.

    `alone` is the rule of `[never]` by itself, so that it can be said which of them keeps an item out;
    `own` what a placement's lists have not, without it.
    """

    name: str
    text: str
    without: Rules
    own: Without = NOTHING
    alone: Never | Without | None = None


def parts_of(rules: Rules, placement: Placement | None = None) -> list[RulePart]:
    """Every rule that lists go by, those of a placement in the place of the file's where it names some.

    >>> rules = Rules.parse('[[cap]]\\nper = "brand"\\nmost = 5\\n[never]\\nbrands = ["Acme"]')
    >>> [part.name for part in parts_of(rules)]
    ['never.unavailable', 'never.brands.Acme', 'session.dismissed', 'cap.brand']
    >>> parts_of(rules)[1].without.never.brands
    ()
    """
    held = rules.of(placement)
    own = NOTHING if placement is None else placement.never
    parts = [
        RulePart(f"never.{name}", text, _with(held, "never", left), own, alone)
        for name, text, left, alone in _of_never(held.never)
    ]
    parts += [
        RulePart(f"placement.never.{name}", f"{text}, in this placement", held, left, alone)
        for name, text, left, alone in _named(own, NOTHING)
    ]
    parts += [RulePart(f"session.{name}", text, left, own) for name, text, left in _of_session(held)]
    parts += [RulePart(name, text, left, own) for name, text, left in _of_order(held)]
    return parts


def _with(part: Any, name: str, value: object) -> Any:
    return part.model_copy(update={name: value})


def _without(values: Sequence[Any], one: object) -> tuple[Any, ...]:
    return tuple(value for value in values if value != one)


def _of_never(never: Never) -> Iterator[tuple[str, str, Never, Never]]:
    if never.unavailable:
        alone = _with(NEVER, "unavailable", True)
        yield "unavailable", "what is not available is in no list", _with(never, "unavailable", False), alone
    if never.without_word:
        text = "only items of which the shop has said something are listed"
        alone = _with(NEVER, "without_word", True)
        yield "without_word", text, _with(never, "without_word", False), alone
    yield from _named(never, NEVER)
    if (days := never.older_than_days) is not None:
        alone = _with(NEVER, "older_than_days", days)
        text = f"nothing that has been available for more than {days:g} days"
        yield "older_than_days", text, _with(never, "older_than_days", None), alone


def _named(part: Any, nothing: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """The categories, brands and attributes that are named, one by one."""
    for kind, of in (("categories", "category"), ("brands", "brand")):
        for name in getattr(part, kind):
            left = _with(part, kind, _without(getattr(part, kind), name))
            yield f"{kind}.{name}", f"nothing of the {of} “{name}”", left, _with(nothing, kind, (name,))
    for name, values in part.attributes.items():
        left = {other: kept for other, kept in part.attributes.items() if other != name}
        text = f"nothing whose {name} is {' or '.join(str(value) for value in values)}"
        alone = _with(nothing, "attributes", {name: values})
        yield f"attributes.{name}", text, _with(part, "attributes", left), alone


def _of_session(rules: Rules) -> Iterator[tuple[str, str, Rules]]:
    session = rules.session
    for name, is_set, text, unset in (
        ("seen", session.seen is True, "nothing that the session has seen", False),
        ("bought", session.bought, "nothing that the session has bought", False),
        (
            "bought_days",
            session.bought_days is not None,
            f"nothing that the user has bought in {session.bought_days or 0:g} days",
            None,
        ),
        ("dismissed", session.dismissed, "nothing that the session has dismissed", False),
    ):
        if is_set:
            yield name, text, _with(rules, "session", _with(session, name, unset))


def _of_order(rules: Rules) -> Iterator[tuple[str, str, Rules]]:
    for cap in rules.cap:
        depth = f" (the first {cap.depth} names)" if cap.depth else ""
        text = f"at most {cap.most} of a {cap.per}{depth}"
        yield f"cap.{cap.per}", text, _with(rules, "cap", _without(rules.cap, cap))
    for number, boost in enumerate(rules.boost, 1):
        left = (*rules.boost[: number - 1], *rules.boost[number:])
        text = f"{_boosted(boost)} up by at most {boost.up} places{_until(boost)}"
        yield f"boost.{number}", text, _with(rules, "boost", left)
    for pin in rules.pin:
        text = f"item “{pin.item}” at place {pin.place}{_until(pin)}"
        yield f"pin.{pin.place}", text, _with(rules, "pin", _without(rules.pin, pin))
    if rules.fallback.items:
        named = "item fills" if len(rules.fallback.items) == 1 else "items fill"
        text = f"{len(rules.fallback.items)} {named} short lists before popular ones"
        yield "fallback", text, _with(rules, "fallback", _with(rules.fallback, "items", ()))


def _boosted(boost: Boost) -> str:
    if boost.item is not None:
        return f"item “{boost.item}”"
    return f"brand “{boost.brand}”" if boost.brand is not None else f"category “{boost.category}”"


def _until(timed: Pin | Boost) -> str:
    return "" if timed.until is None else f", until {timed.until.isoformat(timespec='minutes')}"
