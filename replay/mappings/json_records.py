"""Records of JSON as rows of texts: names, paths such as user.id, and lists that hold several events.

A file is JSON lines, one array of records, or one object that holds a list. A record without events
counts as a blank line.

Tested by tests/unit/replay/mappings/test_json_records.py.
"""

from __future__ import annotations

import ast
import codecs
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec
import pandas as pd

from model.errors import NextclickError
from replay.reading.account import FileAccount
from replay.reading.format import Chunk, UnreadableLine
from replay.reading.lines import blocks_of_lines, text_column
from replay.reading.packed_files import LONGEST_LINE_BYTES, WholeLines
from stream.log_mapping import Column

BOM = b"\xef\xbb\xbf"
LIST = "[]"
BLANK = " \t\r\n"


@dataclass(frozen=True)
class Record:
    """A record of a file: its number from 1, its text, and its value, or why it has none."""

    number: int
    text: bytes
    value: object
    reason: str = ""


def decoded(line: bytes) -> object:
    """The value of a line of JSON, with NaN as null, or of a Python dictionary. Raises UnreadableLine.

    >>> decoded(b'{"price": NaN}'), decoded(b"{u'item': u'i'}")
    ({'price': None}, {'item': 'i'})
    """
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        if line.lstrip().startswith((b"{'", b"{u'")):
            return ast.literal_eval(line.decode().strip())
        if b"NaN" in line:
            found: object = json.loads(line, parse_constant=lambda name: None)
            # Half a surrogate pair is no text.
            json.dumps(found, ensure_ascii=False).encode()
            return found
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    raise UnreadableLine("no JSON")


def text_of(value: object, name: str) -> str:
    """A value of a record as a text. Raises UnreadableLine for one that is neither text nor a number."""
    if value is None:
        return ""
    if isinstance(value, (dict, list, bool)):
        raise UnreadableLine(f"{name} is neither text nor a number")
    return str(value)


class RecordRows:
    """Turns a record into rows, one text for each role; lists on the way give a row for each element.

    >>> rows = RecordRows({"session": "id", "item": "events[].aid"})
    >>> rows({"id": 1, "events": [{"aid": 7}, {"aid": 8}]})
    [('1', '7'), ('1', '8')]
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Raises NextclickError when two lists stand side by side."""
        self.roles = tuple(columns)
        self._names = [str(name) for name in columns.values()]
        self._level = _Level([(n, *_path(name)) for n, name in enumerate(columns.values())])

    @property
    def many(self) -> bool:
        """Whether a record may be several rows."""
        return self._level.inner is not None

    def __call__(self, record: object) -> list[tuple[str, ...]]:
        """The rows of a record. Raises UnreadableLine."""
        if not isinstance(record, (dict, list)):
            raise UnreadableLine("no JSON object")
        rows: list[tuple[str, ...]] = []
        self._add(record, self._level, [""] * len(self.roles), rows)
        return rows

    def _add(self, record: object, level: _Level, texts: list[str], rows: list[tuple[str, ...]]) -> None:
        for place, keys in level.own:
            value = _value(record, keys)
            texts[place] = _joined(value, self._names[place], self.roles[place])
        if level.inner is None:
            rows.append(tuple(texts))
            return
        elements = _value(record, level.keys)
        if elements is None:
            return
        if not isinstance(elements, list):
            raise UnreadableLine(f"{'.'.join(map(str, level.keys))} is no list")
        for element in elements:
            self._add(element, level.inner, texts, rows)


Keys = tuple[Column, ...]


class _Level:
    """The columns that stand at one depth of a record, and the list below them."""

    def __init__(self, columns: Sequence[tuple[int, Keys, tuple[Keys, ...]]]) -> None:
        self.own = [(place, keys) for place, keys, below in columns if not below]
        deeper = [(place, keys, below) for place, keys, below in columns if below]
        self.keys: Keys = deeper[0][1] if deeper else ()
        self.inner: _Level | None = None
        if any(keys != self.keys for _, keys, _ in deeper):
            names = " and ".join(sorted({".".join(map(str, keys)) + LIST for _, keys, _ in deeper}))
            raise NextclickError(
                f"the columns of the mapping are of two lists: {names}",
                "An event is an element of one list; which elements belong together is not known.",
                "Name columns of one list, and of the records around it.",
            )
        if deeper:
            self.inner = _Level([(place, below[0], below[1:]) for place, _, below in deeper])


def _path(column: Column) -> tuple[Keys, tuple[Keys, ...]]:
    """The keys of a column up to the first list, and those below each list.

    >>> _path("events[].item.id")
    (('events',), (('item', 'id'),))
    """
    if isinstance(column, int):
        return (column,), ()
    first, *below = (
        tuple(part for part in piece.strip(".").split(".") if part) for piece in column.split(LIST)
    )
    return first, tuple(below)


def _value(record: object, keys: Keys) -> object:
    if len(keys) > 1 and isinstance(record, dict) and (whole := ".".join(map(str, keys))) in record:
        return record[whole]
    for key in keys:
        if isinstance(record, list) and isinstance(key, int):
            record = record[key - 1] if key <= len(record) else None
        else:
            record = record.get(key) if isinstance(record, dict) else None
    return record


def _joined(value: object, name: str, role: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if role == "category" and isinstance(value, list):
        return "|".join(text_of(part, name) for part in value)
    return text_of(value, name)


def record_chunks(
    columns: tuple[str, ...],
    rows_of: Callable[[object], list[tuple[str, ...]]],
    blocks: Iterator[list[Record]],
    account: FileAccount,
) -> Iterator[Chunk]:
    """The rows of the records; a record that cannot be read is a broken row. `account` counts them.

    Rows take the place of lines in the account.
    """
    nothing = [("",) * len(columns)]
    for block in blocks:
        origins: list[Record] = []
        rows: list[tuple[str, ...]] = []
        broken: list[str] = []
        for record in block:
            reason, found = record.reason, nothing
            try:
                if not reason:
                    found = rows_of(record.value) if record.text else []
            except UnreadableLine as unreadable:
                reason = str(unreadable)
            account.lines += max(1, len(found))
            account.blank += not found
            origins.extend([record] * len(found))
            rows.extend(found)
            broken.extend([reason] * len(found))
        parts = zip(*rows, strict=True) if rows else [()] * len(columns)
        frame = pd.DataFrame(
            {name: text_column(part) for name, part in zip(columns, parts, strict=True)},
        )
        yield Chunk(
            frame,
            pd.Series(broken, index=frame.index, dtype="str"),
            # Bound now: the generator goes on before an error is reported.
            lambda row, origins=origins: (origins[row].number, origins[row].text),  # type: ignore[misc]
        )


def rows_as_read(rows: object) -> list[tuple[str, ...]]:
    """The rows of a record whose line was read as its rows."""
    return cast("list[tuple[str, ...]]", rows)


def line_records(
    lines: WholeLines, block_bytes: int, decode: Callable[[bytes], object] = decoded
) -> Iterator[list[Record]]:
    """Blocks of the records of a file with one on each line; a blank line has no text."""
    number = 0
    for block in blocks_of_lines(lines, block_bytes):
        found = []
        for line in block.removesuffix(b"\n").split(b"\n"):
            number += 1
            line = line.removeprefix(BOM) if number == 1 else line
            found.append(_record(number, line.strip(), decode))
        yield found


def _record(number: int, line: bytes, decode: Callable[[bytes], object]) -> Record:
    if not line:
        return Record(number, b"", None)
    try:
        return Record(number, line, decode(line))
    except UnreadableLine as unreadable:
        return Record(number, line, None, str(unreadable))


def document_record(lines: WholeLines, block_bytes: int) -> Iterator[list[Record]]:
    """The one record of a file that is a single object of JSON over several lines.

    It is held in memory: an array, or one record a line, is not.
    """
    text = b"".join(iter(lambda: lines.read(block_bytes), b"")).removeprefix(BOM).strip()
    yield [_record(1, text, decoded)]


def array_records(lines: WholeLines, block_bytes: int) -> Iterator[list[Record]]:
    """Blocks of the elements of a file that is one array of JSON, numbered from 1, in bounded memory."""
    decoder = json.JSONDecoder(parse_constant=lambda name: None)
    texts = codecs.getincrementaldecoder("utf-8-sig")("replace")
    number, begun, closed, ended, text = 0, False, False, False, ""
    while not ended:
        more = lines.read(block_bytes)
        ended = not more
        text += texts.decode(more, final=ended)
        at, found = 0, []
        reason = ""
        while not closed:
            while at < len(text) and text[at] in BLANK + "[,"[begun:]:
                begun = begun or text[at] == "["
                at += 1
            if at == len(text):
                reason = "the array does not end" if ended else ""
                break
            if text[at] == "]":
                at, closed = at + 1, True
                break
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                reason = "no JSON" if ended or len(text) - at > LONGEST_LINE_BYTES else ""
                break
            if end == len(text) and not ended:
                # A number may go on.
                break
            number += 1
            found.append(Record(number, text[at:end].encode(), value))
            at = end
        text = text[at:]
        if closed and text.strip():
            reason = "the array has ended before this"
        if reason:
            found.append(Record(number + 1, text.encode(), None, reason))
            ended = True
        if found:
            yield found
