"""A sample of a log of unknown layout: rows from its beginning and from places spread over it, as texts.

The container, the delimiter and the header are seen in the lines. Memory is bounded; a packed file is
read up to a limit.

Tested by tests/unit/replay/mappings/test_guess.py.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from model.errors import NextclickError
from replay.mappings.header_encoding import encoding_by_names
from replay.mappings.json_records import LIST, RecordRows, array_records, decoded
from replay.mappings.named_columns import DELIMITERS, fields_of
from replay.mappings.role_names import LEAST_NAMES, names_in
from replay.reading.containers.column_batches import container_of
from replay.reading.containers.columnar import is_columnar, opened, place_of, types_in, values_of
from replay.reading.format import UnreadableLine
from replay.reading.packed_files import CUT_OFF, LONGEST_LINE_BYTES, WholeLines, cut_off, open_file, size_of
from stream.log_mapping import Column

FIRST_LINES, PLACES, LINES_A_PLACE = 2_000, 30, 100
# Of a packed file, which cannot be read from its middle, and of one object over several lines.
MOST_PACKED_BYTES = 64 << 20
BLOCK_BYTES = 1 << 20
# Fields of a table of events.
LEAST_FIELDS = 3
# The share of lines that must have as many fields as the others.
LEAST_ALIKE = 0.9


@dataclass(frozen=True)
class LogSample:
    """Rows of a log as texts.

    columns   the name, the number from 1, or the path of each column
    first     the fields of the first line of a delimited file, which may be a header
    header    whether it is one; None: not known
    broken    sampled lines that have another number of fields, or are no JSON
    utf8      whether all sampled text is UTF-8
    """

    container: str
    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]]
    delimiter: str = ""
    header: bool | None = True
    broken: int = 0
    utf8: bool = True
    first: tuple[str, ...] = ()

    def with_header(self, header: bool | None) -> LogSample:
        """The sample of a delimited file whose first line is a header, or is none."""
        body = self.rows[1:] if self.header is False and self.first else self.rows
        distinct = len(set(self.first)) == len(self.first)
        columns: tuple[Column, ...] = tuple(range(1, len(self.first) + 1))
        return replace(
            self,
            header=header,
            columns=self.first if header and distinct else columns,
            rows=[self.first, *body] if header is False else body,
        )

    def without(self, *columns: Column) -> LogSample:
        """The sample without some of its columns."""
        kept = [place for place, column in enumerate(self.columns) if column not in columns]
        rows = [tuple(row[place] for place in kept) for row in self.rows]
        return replace(self, columns=tuple(self.columns[place] for place in kept), rows=rows)

    def values(self, column: Column) -> list[str]:
        """The values of a column in the order of the file."""
        place = self.columns.index(column)
        return [row[place] for row in self.rows]


def sample_of(path: Path, *, delimiter: str = "", least_fields: int = LEAST_FIELDS) -> LogSample:
    """A sample of a file. Raises NextclickError when it is damaged, or is no table.

    `delimiter` is of a delimited file, where it is known.
    """
    if is_columnar(path):
        return _of_columns(path)
    lines = _sampled_lines(path)
    texts = [line.decode("utf-8", "replace") for line in lines]
    if not texts:
        raise NextclickError(f"{path} is empty", "It has no rows.", "Check the file.")
    if any("\0" in text for text in texts[:20]):
        raise NextclickError(
            f"{path} is no text that can be read here: it has zero bytes, as in binary files and UTF-16 "
            "without its mark",
            "CSV and JSON are read, packed or not, and Parquet, Arrow and ORC.",
            "Write it as UTF-8: iconv -f utf-16 -t utf-8 FILE > NEW",
        )
    utf8 = not any("\ufffd" in text for text in texts)
    if not utf8 and (found := encoding_by_names(lines[0])):
        encoding, header = found
        raise NextclickError(
            f"{path} is not UTF-8: in {encoding} its first line is {header[:120]}",
            "Names of columns are read as UTF-8 alone, so none of them would be found.",
            f"Write it as UTF-8: iconv -f {encoding} -t utf-8 {shlex.quote(str(path))} > NEW",
        )
    start = texts[0].lstrip("\ufeff \t")[:1]
    if start == "[" or start == "{":
        records, broken = _records(path, texts)
        if records:
            return records_sample("json" if start == "[" else "json-lines", records, broken, utf8)
    return _of_lines(path, texts, utf8, delimiter, least_fields)


def _sampled_lines(path: Path) -> list[bytes]:
    """The first lines, and some at places spread over the file; blank ones are left out."""
    found: list[bytes] = []
    try:
        with open_file(path) as file:
            found.extend(islice(_lines_of(file), FIRST_LINES))
            if len(found) == FIRST_LINES:
                size = size_of(file)
                found.extend(_packed_places(file) if size is None else _places(file, size))
    except CUT_OFF as error:
        if not found:
            raise cut_off(path, 1, error) from None
        # What stands before a cut says enough.
    return [line.rstrip(b"\r\n") for line in found if line.strip()]


def _lines_of(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(LONGEST_LINE_BYTES):
        yield line


def _places(file: IO[bytes], size: int) -> Iterator[bytes]:
    begin = file.tell()
    for place in range(1, PLACES + 1):
        file.seek(begin + (size - begin) * place // (PLACES + 1))
        file.readline(LONGEST_LINE_BYTES)
        yield from islice(_lines_of(file), LINES_A_PLACE)


def _packed_places(file: IO[bytes]) -> Iterator[bytes]:
    for _ in range(MOST_PACKED_BYTES // (2 * BLOCK_BYTES)):
        if not file.read(2 * BLOCK_BYTES):
            return
        file.readline(LONGEST_LINE_BYTES)
        yield from islice(_lines_of(file), LINES_A_PLACE)


def _of_lines(path: Path, texts: list[str], utf8: bool, said: str, least_fields: int) -> LogSample:
    texts[0] = texts[0].removeprefix("\ufeff")
    delimiter, width = (said, len(fields_of(texts[0], said))) if said else _delimiter(texts)
    if width < least_fields:
        raise NextclickError(
            f"{path} is no table: {texts[0][:120]!r}",
            "Its lines do not have three fields between commas, tabs, semicolons, bars or double colons.",
            "Look at the file; a file of other delimiters is read with --columns …,delimiter=CHARACTER",
        )
    split = [tuple(fields_of(text, delimiter)) for text in texts]
    rows = [row for row in split if len(row) == width]
    first, body = rows[0], rows[1:]
    before = split.index(first)
    if before and _is_header(first, body) is not False and names_in(first) >= LEAST_NAMES:
        raise NextclickError(
            f"{path}: line {before + 1} is the header, {delimiter.join(first)[:120]}, and not the first: "
            f"before it stands {texts[0][:60]!r}",
            "A table begins with the names of its columns; what stands before them is no row.",
            f"Leave it out: tail -n +{before + 1} {shlex.quote(str(path))} > NEW",
        )
    found = LogSample("csv", (), body, delimiter, None, len(split) - len(rows), utf8, first)
    return found.with_header(_is_header(first, body) if len(split[0]) == width else False)


def _delimiter(texts: list[str]) -> tuple[str, int]:
    """The delimiter that gives the lines most alike fields, and their number."""
    best = ("", 0)
    for delimiter in DELIMITERS:
        counts = Counter(len(fields_of(text, delimiter)) for text in texts[:FIRST_LINES])
        width, alike = counts.most_common(1)[0]
        if alike >= LEAST_ALIKE * sum(counts.values()) and width > best[1]:
            best = (delimiter, width)
    return best


def is_number(text: str) -> bool:
    """Whether a text is a number.

    >>> is_number("-1.5e3"), is_number("12,5"), is_number("nan")
    (True, False, False)
    """
    try:
        return text.strip().lower() not in ("nan", "inf", "-inf", "infinity") and float(text) is not None
    except ValueError:
        return False


def _is_header(first: tuple[str, ...], body: list[tuple[str, ...]]) -> bool | None:
    """Whether the first row names columns; None where the rows do not say it."""
    if any(is_number(text) or not text.strip() for text in first[1:]) or is_number(first[0]):
        return False
    if not body:
        return None
    for place, name in enumerate(first):
        column = [row[place] for row in body if row[place].strip()]
        digits = sum(any(letter.isdigit() for letter in text) for text in column)
        if column and digits >= 0.98 * len(column) and not any(letter.isdigit() for letter in name):
            return True
    return None


def _records(path: Path, texts: list[str]) -> tuple[list[object], int]:
    records: list[object] = []
    broken = 0
    if texts[0].lstrip("\ufeff ").startswith("["):
        with open_file(path) as file:
            for block in islice(array_records(WholeLines(file), BLOCK_BYTES), 4):
                records.extend(one.value for one in block if not one.reason)
        if any(isinstance(record, dict) for record in records):
            return records[:FIRST_LINES], 0
        records = []
    for text in texts:
        try:
            records.append(decoded(text.removeprefix("\ufeff").encode()))
        except UnreadableLine:
            broken += 1
    found: list[object] = [record for record in records if isinstance(record, dict)]
    if not found and texts[0].lstrip("\ufeff ").startswith("{"):
        return _document(path), 0
    return found, broken


def _document(path: Path) -> list[object]:
    """The object that a file is, over several lines; nothing where it is none, or a very large one."""
    with open_file(path) as file:
        text = file.read(MOST_PACKED_BYTES + 1)
    try:
        value = decoded(text.removeprefix(b"\xef\xbb\xbf").strip())
    except UnreadableLine:
        return []
    return [value] if isinstance(value, dict) and len(text) <= MOST_PACKED_BYTES else []


def records_sample(
    container: str, records: Sequence[object], broken: int = 0, utf8: bool = True
) -> LogSample:
    """A sample of records of JSON: a column for each path, a row for each element of their longest list."""
    paths: Counter[str] = Counter()
    for record in records:
        paths.update(list(dict.fromkeys(_paths(record))))
    lists = Counter(path[: path.index(LIST)] for path in paths if LIST in path)
    # An event is an element of one list: the one with most fields.
    chosen = max(lists, key=lambda name: (lists[name], paths[name])) if lists else None
    kept = [path for path in paths if LIST not in path or path.startswith(f"{chosen}{LIST}")]
    kept = [path for path in kept if path.count(LIST) < 2]
    read = RecordRows({path: path for path in kept})
    rows: list[tuple[str, ...]] = []
    for record in records:
        try:
            rows.extend(read(record))
        except UnreadableLine:
            broken += 1
    return LogSample(container, tuple(kept), rows, broken=broken, utf8=utf8)


def _paths(value: object, before: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, f"{before}.{key}" if before else str(key))
    elif isinstance(value, list):
        for inner in value[:20]:
            yield from _paths(inner, f"{before}{LIST}")
    elif before:
        yield before


def _of_columns(path: Path) -> LogSample:
    with closing(opened(path)) as file:
        # A path into a list stands for several rows: it is of a mapping, not of a table.
        names = [
            name
            for name, kind in types_in(file.schema).items()
            if LIST not in name and not pa.types.is_nested(kind)
        ]
        places = {name: place_of(name, file.schema.names) for name in names}
        rows: list[tuple[str, ...]] = []
        for part in range(0, file.parts, max(1, file.parts // 10)):
            for batch in islice(file.part(part, sorted({root for root, _ in places.values()})), 1):
                values, _ = values_of(batch.slice(0, FIRST_LINES), places)
                texts = [pc.fill_null(values[name].cast(pa.string()), "").to_pylist() for name in names]
                rows.extend(zip(*texts, strict=True))
    return LogSample(container_of(path).split()[0], tuple(names), rows)
