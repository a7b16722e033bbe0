"""What the values of a column of kinds mean, by the words that logs use.

Tested by tests/unit/replay/mappings/test_guess.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from replay.mappings.log_sample import LogSample, is_number
from replay.mappings.role_names import EXACT, KIND_WORDS, name_score
from replay.mappings.usual_names import KNOWN
from replay.reading.values import MISSING
from stream.events import COMMON_KINDS
from stream.log_mapping import LEFT_OUT

MOST_KINDS, MOST_NUMBERS = 30, 10
ANY_KIND = "KIND"


@dataclass(frozen=True)
class KindGuess:
    """The kind of each value that needs an entry, in words; or the values whose kind is not known.

    `answer` says such a column in --columns, with ANY_KIND for what is not known.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    told: str = ""
    unknown: tuple[str, ...] = ()
    answer: str = ""


def kind_guess(values: Sequence[str], score: int, said: Mapping[str, str] | None = None) -> KindGuess | None:
    """What the values of a column mean as kinds of events; None where they are none.

    `score` says how well the column's name says that it has kinds; `said` what a person has said of it.

    >>> found = kind_guess(["pv", "buy", "fav"], 3)
    >>> found.kinds if found else None
    {'pv': 'view', 'fav': 'left out'}
    """
    counts = Counter(value.strip() for value in values)
    given = {value: count for value, count in counts.items() if value and value.casefold() not in MISSING}
    if not given or len(given) > MOST_KINDS:
        return None
    known = {value: kind for value in given if (kind := _kind_of(value, said or {})) is not None}
    numbers = all(is_number(value) for value in given) and len(given) <= MOST_NUMBERS
    if said is None and not known and not (score == EXACT and numbers):
        return None
    if said is None and not score and len(known) < len(given):
        return None
    unknown = tuple(value for value in given if value not in known)
    if 2 * sum(given[value] for value in unknown) > sum(given.values()):
        answer = ",".join(f"{value}={known.get(value, ANY_KIND)}" for value in given)
        return KindGuess(unknown=unknown, answer=answer)
    kinds = {value: known.get(value, LEFT_OUT) for value in given}
    told = ", ".join(f"{value} is {kind}" for value, kind in kinds.items())
    # Words that every log is read by need no entry.
    return KindGuess({v: k for v, k in kinds.items() if COMMON_KINDS.get(v.casefold()) != k}, told)


def has_unread_kinds(sample: LogSample) -> bool:
    """Whether a log that is known by usual names has its kinds under another one, which is not read so.

    Without them all of its events would be views.
    """
    if any(name in sample.columns for name in KNOWN["kind"]):
        return False
    columns = [column for column in sample.columns if name_score("kind", str(column)) == EXACT]
    return any(kind_guess(sample.values(column), EXACT) is not None for column in columns)


def _kind_of(value: str, said: Mapping[str, str]) -> str | None:
    word = value.casefold()
    return said.get(value, COMMON_KINDS.get(word, KIND_WORDS.get(word.replace(" ", "_"))))
