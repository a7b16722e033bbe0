"""A mapping guessed from a sample of a log: by the names of its columns, and by what their values are.

What is not sure is a doubt, which names the candidates and how to say which one it is: a wrong guess that
nobody notices trains a model of nonsense.

Tested by tests/unit/replay/mappings/test_guess.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise

from replay.mappings.kind_guess import ANY_KIND, kind_guess
from replay.mappings.log_sample import LogSample, is_number
from replay.mappings.role_names import EXACT, LEAST_NAMES, name_score, names_in
from replay.mappings.said_columns import NONE, UNSAID, column_of, said_mapping
from replay.mappings.time_guess import TimeGuess, time_guess
from replay.reading.time_evidence import CLOCK
from replay.reading.values import MISSING
from stream.file_shape import FileShape
from stream.log_mapping import Column, LogMapping

LEAST_NUMBERS = 0.9
# A user's rows stand together where at least this share of rows has the user of the row before.
LEAST_TOGETHER = 0.3


@dataclass(frozen=True)
class Doubt:
    """What is not sure, why, and how each answer is said in --columns."""

    role: str
    why: str
    answers: tuple[str, ...]


@dataclass
class Guess:
    """What was found, by role, with its evidence; the mapping, unless something is in doubt."""

    evidence: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    mapping: LogMapping | None = None


def guess_mapping(sample: LogSample, said: LogMapping | None = None) -> Guess:
    """The mapping of a log, by a sample of it; what is said holds."""
    return _Guesser(sample, said or said_mapping("")).guess()


class _Guesser:
    def __init__(self, sample: LogSample, said: LogMapping) -> None:
        if sample.container == "csv" and said.files.header is not None:
            sample = sample.with_header(said.files.header)
        elif sample.header is None and _is_named(sample):
            sample = sample.with_header(True)
        self._sample, self._said = sample, said
        self._found: dict[str, Column] = {
            role: column_of(sample, column) for role, column in said.columns.items() if column != UNSAID
        }
        self._kinds, self._decimal, self._unit = dict(said.kinds), said.files.decimal, said.time_unit
        self._times: TimeGuess | None = None
        self._result = Guess()

    def guess(self) -> Guess:
        result = self._result
        if self._sample.header is None:
            result.doubts.append(
                Doubt(
                    "header",
                    "whether the first line names the columns is not clear",
                    ("header=yes", "header=no"),
                )
            )
            return result
        if not self._sample.rows:
            result.doubts.append(Doubt("rows", "there are no rows to look at", ()))
            return result
        self._guess_time()
        self._guess_kind()
        self._guess_price()
        for role in ("session", "user", "item"):
            self._guess_id(role)
        for role in ("brand", "category", "title"):
            self._guess_text(role)
        rule = self._guess_sessions()
        if not self._sample.utf8 and not self._said.files.encoding:
            result.notes.append("the text is not UTF-8: read as latin-1; another one is said by encoding=…")
        if not result.doubts:
            result.mapping = self._mapping(rule)
        return result

    def _mapping(self, rule: str) -> LogMapping:
        sample, said = self._sample, self._said.files
        of_csv = sample.container == "csv"
        shape = FileShape(
            said.container,
            said.delimiter or (sample.delimiter if of_csv else ""),
            sample.header if of_csv else None,
            said.encoding or ("" if sample.utf8 else "latin-1"),
            self._decimal,
            said.quotes,
        )
        columns = {role: self._found[role] for role in self._found if role != "session" or rule == "column"}
        return replace(
            self._said, columns=columns, kinds=self._kinds, time_unit=self._unit, sessions=rule, files=shape
        )

    def _guess_time(self) -> None:
        said = self._found.get("time")
        if said is not None and self._unit:
            self._tell("time", f"said, {self._unit}")
            return
        scored = {c: name_score("time", str(c)) for c in ([said] if said is not None else self._free())}
        fitting: dict[Column, TimeGuess] = {}
        for columns in ([c for c in scored if scored[c]], scored):
            if not fitting:
                made = {column: time_guess(self._sample.values(column)) for column in columns}
                fitting = {column: found for column, found in made.items() if found is not None}
        if not fitting:
            named = [c for c in scored if scored[c]] or list(scored)
            why = "no column has times that can be read"
            self._doubt("time", why, [f"time={one}:PATTERN" for one in named[:3]])
            return
        ranked = sorted(fitting, key=lambda c: (-scored[c], fitting[c].days, -fitting[c].distinct))
        best, found = ranked[0], fitting[ranked[0]]
        alike = [c for c in ranked[1:] if scored[c] == scored[best] and fitting[c].days == found.days]
        alike = [c for c in alike if fitting[c].made != found.made]
        if alike:
            self._doubt("time", "several columns are times", [f"time={one}" for one in (best, *alike)])
            return
        if len(found.units) > 1:
            # No candidate for anything else.
            self._found["time"] = best
            why = f"the times of {best} can be read in {len(found.units)} ways, such as {found.first}"
            self._doubt("time", why, [f"time={best}:{unit}" for unit in found.units[:4]])
            return
        clocks = [c for c in self._free() if c != best and _is_clock(self._sample.values(c))]
        if found.days and clocks and said is None:
            self._found["time"] = best
            why = (
                f"{best} has days and {clocks[0]} times of day: a time is read from one column, so join them"
            )
            self._doubt("time", f"{why}, or take the days alone", [f"time={best}:{found.units[0]}"])
            return
        self._found["time"], self._unit, self._times = best, found.units[0], found
        self._tell("time", f"{self._by_name(best, 'time')}, {self._unit}: {found.first} is {found.made}, UTC")

    def _guess_id(self, role: str) -> None:
        if role in self._found:
            self._tell(role, "said")
            return
        scored = {column: name_score(role, str(column)) for column in self._free()}
        best = max(scored.values(), default=0)
        least = 1 if best == EXACT else 2
        candidates = [c for c in scored if best and scored[c] == best and self._is_id(c, least)]
        if len(candidates) > 1:
            candidates = self._different(candidates)
        if len(candidates) == 1:
            self._found[role] = candidates[0]
            self._tell(role, f"by its name, {self._counts(candidates[0])}")
        elif candidates:
            self._doubt(role, f"several columns may be the {role}", [f"{role}={one}" for one in candidates])
        elif role == "item":
            ids = [c for c in self._free() if self._is_id(c)]
            ids.sort(key=lambda c: (self._together(c) >= LEAST_TOGETHER, -len(set(self._sample.values(c)))))
            self._doubt(role, "no name says which column is the item", [f"item={one}" for one in ids[:6]])

    def _guess_sessions(self) -> str:
        if self._said.sessions != "column":
            self._tell("sessions", f"said, {self._said.sessions}")
            return self._said.sessions
        if "session" in self._found:
            return "column"
        if any(doubt.role == "session" for doubt in self._result.doubts):
            return "column"
        if "user" not in self._found:
            ids = sorted((c for c in self._free() if self._is_id(c)), key=lambda c: -self._together(c))
            answers = [f"session={one}" for one in ids[:3]]
            answers += [
                f"user={one},sessions=gap" for one in ids[:3] if self._together(one) >= LEAST_TOGETHER
            ]
            self._doubt("session", "no name says which column is the session, or the user", answers)
            return "column"
        if self._times is not None and self._times.days:
            self._tell("sessions", "day: there is no column of sessions, and times are whole days")
            return "day"
        self._tell("sessions", "gap: there is no column of sessions; a user's silence of 30 minutes ends one")
        return "gap"

    def _guess_kind(self) -> None:
        said = self._found.get("kind")
        if said == NONE:
            del self._found["kind"]
            return
        for column in [said] if said is not None else self._free():
            score = name_score("kind", str(column))
            told = self._said.kinds if said is not None else None
            found = kind_guess(self._sample.values(column), score, told)
            if found is None:
                if score == EXACT:
                    self._result.notes.append(f"{column} is taken for no kind of event: no word of it is one")
                continue
            if found.unknown:
                self._found["kind"] = column
                why = f"what {', '.join(found.unknown[:6])} of {column} mean is not known"
                why += f"; each {ANY_KIND} is view, cart, purchase or left out"
                self._doubt("kind", why, [f"kind={column}:{found.answer}", f"kind={NONE}"])
                return
            self._found["kind"], self._kinds = column, {**found.kinds, **self._said.kinds}
            self._tell("kind", f"{self._by_name(column, 'kind')}: {found.told}")
            return

    def _guess_price(self) -> None:
        for column in self._free():
            if name_score("price", str(column)) == 0 or "price" in self._found:
                continue
            values = [
                v for v in self._sample.values(column) if v.strip() and v.strip().casefold() not in MISSING
            ]
            commas = [value.replace(".", "").replace(",", ".") for value in values if "," in value]
            if values and sum(map(is_number, values)) >= LEAST_NUMBERS * len(values):
                self._found["price"] = column
                self._tell("price", f"by its name, such as {values[0]}")
            elif commas and all(map(is_number, commas)):
                self._found["price"], self._decimal = column, ","
                self._tell("price", f"by its name, with a decimal comma, such as {values[0]}")

    def _guess_text(self, role: str) -> None:
        columns = [
            c for c in self._free() if name_score(role, str(c)) == EXACT and any(self._sample.values(c))
        ]
        letters = [
            c for c in columns if any(not is_number(v) for v in self._sample.values(c)[:200] if v.strip())
        ]
        if role not in self._found and (chosen := (letters or columns)[:1]):
            self._found[role] = chosen[0]
            self._tell(role, "by its name")

    def _free(self) -> list[Column]:
        return [column for column in self._sample.columns if column not in self._found.values()]

    def _is_id(self, column: Column, least: int = 2) -> bool:
        """Whether a column has the values of an id, at least so many of them."""
        values = [value for value in self._sample.values(column) if value.strip()]
        fractions = sum(is_number(v) and not float(v).is_integer() for v in values[:500])
        return 2 * len(values) >= len(self._sample.rows) and len(set(values)) >= least and fractions < 3

    def _together(self, column: Column) -> float:
        values = self._sample.values(column)
        return sum(a == b for a, b in pairwise(values)) / max(1, len(values) - 1)

    def _different(self, columns: list[Column]) -> list[Column]:
        """The first of the columns, and those that say something else of the rows."""
        first = self._sample.values(columns[0])
        kept = [columns[0]]
        for column in columns[1:]:
            pairs = set(zip(first, self._sample.values(column), strict=True))
            if not len(pairs) == len(set(first)) == len({value for _, value in pairs}):
                kept.append(column)
        return kept

    def _counts(self, column: Column) -> str:
        values = self._sample.values(column)
        return f"{len(values):,} rows have {len(set(values)):,} values, such as {values[0]}"

    def _by_name(self, column: Column, role: str) -> str:
        if self._said.columns.get(role, UNSAID) != UNSAID:
            return "said"
        return "by its name" if name_score(role, str(column)) else "by its values"

    def _tell(self, role: str, evidence: str) -> None:
        column = self._found.get(role)
        self._result.evidence[role] = evidence if column is None else f"{column}, {evidence}"

    def _doubt(self, role: str, why: str, answers: list[str]) -> None:
        self._result.doubts.append(Doubt(role, why, tuple(answers)))


def _is_clock(values: list[str]) -> bool:
    """Whether nearly all values are times of day."""
    given = [value.strip() for value in values if value.strip()]
    found = sum(re.fullmatch(CLOCK, value) is not None for value in given)
    return bool(given) and found >= LEAST_NUMBERS * len(given)


def _is_named(sample: LogSample) -> bool:
    """Whether the first line of a file has names that logs give to their columns."""
    return names_in(sample.first) >= LEAST_NAMES
