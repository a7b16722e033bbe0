"""A mapping of a file of items, guessed by the names of its columns and by what their values are.

What is not sure is refused with the candidates: words about other items than those of the events would
change no list, or the wrong ones.

Tested by tests/unit/replay/item_files/test_item_guess.py.
"""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from model.errors import NextclickError
from replay.item_files.item_mapping import ATTRIBUTE, AVAILABLE, FIELDS, ITEM, TIMES, ItemMapping
from replay.item_files.item_names import USUAL, name_rank
from replay.item_files.item_sample import item_sample
from replay.item_files.item_values import number_text, says_yes
from replay.mappings.json_records import LIST
from replay.mappings.log_sample import is_number
from replay.mappings.time_guess import time_guess
from replay.reading.format import MILLISECONDS
from replay.reading.values import DECIMAL_COMMA, DECIMAL_POINT, EITHER
from stream.file_shape import FileShape
from stream.log_mapping import Column

LEAST_NUMBERS = 0.9
# Values of `available` that are named in an error.
MOST_VALUES = 4


@dataclass
class ItemGuess:
    """The mapping of a file of items, why it is that one, and what is to be known of it."""

    mapping: ItemMapping
    evidence: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def guess_items(path: Path, said: ItemMapping) -> ItemGuess:
    """The mapping of a file of items; what is said holds, the rest is guessed.

    Raises NextclickError where it is not sure, with the candidates and how to say one.
    """
    return _Guesser(path, said).guess()


class _Guesser:
    def __init__(self, path: Path, said: ItemMapping) -> None:
        self._path, self._said = path, said
        self._sample = item_sample(path, said.files)
        self._names = self._columns()
        self._found: dict[str, Column] = {}
        self._result = ItemGuess(said)
        self._why: list[str] = []
        self._answers: list[str] = []

    def guess(self) -> ItemGuess:
        for name, column in self._said.columns.items():
            self._found[name] = self._said_column(column)
            self._tell(name, "said")
        for name in (ITEM, *FIELDS):
            self._take_usual(name)
        if ITEM not in self._found:
            self._guess_item()
        for name in FIELDS:
            self._guess_field(name)
        for column in self._names:
            if str(column).startswith(ATTRIBUTE) and str(column) not in self._found:
                self._found[str(column)] = column
        self._check_encoding()
        values, decimal, unit = self._check_available(), self._decimal(), self._time_unit()
        if self._why:
            raise self._in_doubt()
        self._notes()
        files = replace(self._shape(), decimal=decimal)
        self._result.mapping = replace(
            self._said, columns=dict(self._found), values=values, time_unit=unit, files=files
        )
        return self._result

    def _columns(self) -> list[Column]:
        sample = self._sample
        return list(sample.first) if sample.container == "csv" and sample.header else list(sample.columns)

    def _values(self, column: Column) -> list[str]:
        place = self._names.index(column)
        return [row[place].strip() for row in self._sample.rows]

    def _given(self, column: Column) -> list[str]:
        return [value for value in self._values(column) if value]

    def _said_column(self, column: Column) -> Column:
        if isinstance(column, int) and column not in self._names and column <= len(self._names):
            return self._names[column - 1]
        if column in self._names:
            return column
        names = [str(name) for name in self._names]
        near = difflib.get_close_matches(str(column), names, 1, cutoff=0.6)
        raise NextclickError(
            f"{self._path}: it has no column {column}",
            f"Its columns are {', '.join(names)}. Nothing was sent.",
            "Name its own columns with --columns" + (f"; is it {near[0]}?" if near else "."),
        )

    def _take_usual(self, name: str) -> None:
        """The column whose name is the field's own, which decides alone."""
        usual = next((one for one in USUAL.get(name, (name,)) if one in self._names), None)
        if name not in self._found and usual is not None and usual not in self._found.values():
            self._found[name] = usual
            self._tell(name, "by its name")

    def _ranked(self, name: str) -> list[Column]:
        ranks = {column: name_rank(name, str(column)) for column in self._free()}
        known = [(rank, column) for column, rank in ranks.items() if rank is not None]
        return [column for _, column in sorted(known, key=lambda one: one[0])]

    def _guess_item(self) -> None:
        candidates = self._ranked(ITEM)
        # Of items each has a row.
        unique = [column for column in candidates if self._is_unique(column)]
        candidates = unique or candidates
        if len(candidates) == 1:
            self._found[ITEM] = candidates[0]
            self._tell(ITEM, "by its name")
            return
        if candidates:
            self._why.append(f"several columns may be the {ITEM}")
        else:
            names = ", ".join(map(str, self._names))
            self._why.append(f"none of its columns is {', '.join(USUAL[ITEM])}: {names}")
            candidates = [column for column in self._free() if self._is_unique(column)] or self._free()
        self._answers += [f"{ITEM}={column}" for column in candidates[:4]]

    def _guess_field(self, name: str) -> None:
        if name in self._found:
            return
        within = str(self._found.get(ITEM, "")).rpartition(LIST)[0]
        for column in self._ranked(name):
            if LIST in str(column) and str(column).rpartition(LIST)[0] != within:
                continue
            given = self._given(column)
            numbers = sum(is_number(_plain_number(value)) for value in given)
            if not given or (name == "price" and numbers < LEAST_NUMBERS * len(given)):
                continue
            self._found[name] = column
            self._tell(name, "by its name")
            return

    def _check_available(self) -> dict[str, str]:
        """What the values of `available` mean, where all are known."""
        values = dict(self._said.values)
        column = self._found.get(AVAILABLE)
        if column is None:
            return values
        if column == AVAILABLE or AVAILABLE in self._said.columns:
            # Rows that say neither are left out, and named.
            return values
        unknown = sorted({one for one in self._given(column) if says_yes(one, values) is None})
        if unknown and len(unknown) == len(set(self._given(column))):
            # None of it says yes or no: the column means something else.
            del self._found[AVAILABLE], self._result.evidence[AVAILABLE]
            self._result.notes.append(f"{column} is not taken for {AVAILABLE}: no value says yes or no")
        elif unknown:
            known = [f"{value}={meaning}" for value, meaning in values.items()]
            answer = ",".join([*known, *(f"{value}=no" for value in unknown[:MOST_VALUES])])
            self._why.append(
                f"whether {', '.join(unknown[:MOST_VALUES])} of {column} means available is not known"
            )
            self._answers.append(f"{AVAILABLE}={column}:{answer}")
        return values

    def _decimal(self) -> str:
        """The sign of decimals in prices, where a comma shows or needs one."""
        said, column = self._said.files.decimal, self._found.get("price")
        if said or column is None:
            return said
        texts = [number_text(value) for value in self._given(column)]
        by_comma = any(re.fullmatch(DECIMAL_COMMA, text) for text in texts)
        by_point = any(re.fullmatch(DECIMAL_POINT, text) for text in texts)
        if by_comma != by_point and any("," in text for text in texts):
            return "," if by_comma else "."
        if (
            not by_comma
            and not by_point
            and (unclear := [text for text in texts if "," in text and re.fullmatch(EITHER, text)])
        ):
            self._why.append(f"whether the comma of {column}, {unclear[0]}, is for decimals or thousands")
            self._answers.append("decimal=comma")
        return ""

    def _time_unit(self) -> str:
        """The unit of times that are neither milliseconds nor ISO."""
        columns = [self._found[name] for name in TIMES if name in self._found]
        columns = [column for column in columns if not str(column).endswith(MILLISECONDS)]
        found = time_guess([value for column in columns for value in self._given(column)])
        if self._said.time_unit or not columns or found is None:
            return self._said.time_unit
        if len(found.units) > 1:
            name = next(one for one in TIMES if self._found.get(one) == columns[0])
            self._why.append(f"{found.first} of {columns[0]} can be read in {len(found.units)} ways")
            self._answers += [f"{name}={columns[0]}:{unit}" for unit in found.units[:3]]
            return ""
        if found.units[0] in ("iso", "ms"):
            return ""
        for name in TIMES:
            if name in self._found:
                self._result.evidence[name] += f", {found.units[0]}: {found.first} is {found.made}, UTC"
        return found.units[0]

    def _check_encoding(self) -> None:
        if not self._sample.utf8 and not self._said.files.encoding:
            self._why.append("it cannot be read to its end as UTF-8, and which encoding it has is not known")
            self._answers += ["encoding=latin-1", "encoding=cp1252"]

    def _shape(self) -> FileShape:
        sample, said = self._sample, self._said.files
        if sample.container != "csv":
            return said
        return replace(said, delimiter=said.delimiter or sample.delimiter, header=bool(sample.header))

    def _notes(self) -> None:
        notes = self._result.notes
        ids = self._given(self._found[ITEM])
        if others := [str(column) for column in self._ranked(ITEM) if self._is_unique(column)]:
            notes.append(f"{', '.join(others)} may be the {ITEM} too: its ids are those of the events")
        if repeated := len(ids) - len(set(ids)):
            notes.append(f"{repeated:,} of {len(ids):,} rows looked at repeat an id: its last row counts")
        if free := [str(column) for column in self._free()]:
            more = f" and {len(free) - 8} more" if len(free) > 8 else ""
            kept = f"{ATTRIBUTE}NAME=COLUMN keeps one"
            notes.append(f"not read: {', '.join(free[:8])}{more}; {kept}")

    def _in_doubt(self) -> NextclickError:
        first: dict[str, str] = {}
        for answer in self._answers:
            first.setdefault(answer.partition("=")[0], answer)
        said = [f"{name}={column}" for name, column in self._said.columns.items() if name not in first]
        example = shlex.quote(",".join([*said, *first.values()]))
        return NextclickError(
            f"{self._path}: it is not sure what is what: {'; '.join(self._why)}",
            "A wrong guess would say something of other items, so nothing was sent. "
            f"It may be {' or '.join(self._answers)}.",
            f"Say which it is, and the rest is guessed: --columns {example}",
        )

    def _free(self) -> list[Column]:
        return [column for column in self._names if column not in self._found.values()]

    def _is_unique(self, column: Column) -> bool:
        given = self._given(column)
        return len(given) == len(self._sample.rows) and len(set(given)) == len(given)

    def _tell(self, name: str, why: str) -> None:
        column = self._found[name]
        example = next(iter(self._given(column)), None)
        shown = "" if example is None else f", such as {example[:60]}"
        self._result.evidence[name] = f"{column}, {why}{shown}"


def _plain_number(text: str) -> str:
    plain = number_text(text)
    return plain.replace(".", "").replace(",", ".") if "," in plain else plain
