"""The table of formats, and which of them a file has.

A format is detected from the first line, or from the next ones where it has no header; a Parquet file
is known by the names of its columns. A table whose columns have usual names is known by these.

Tested by tests/unit/replay/datasets/test_event_files.py.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd

from model.errors import NextclickError
from replay.datasets import (
    amazon,
    diginetica,
    globo,
    lastfm,
    mind,
    mkechinov,
    movielens,
    online_retail,
    retailrocket,
    rsc15,
    thirty_music,
    trivago,
)
from replay.mappings.known_mappings import KNOWN_MAPPINGS, known_by_mapping
from replay.mappings.mapped_files import format_of
from replay.mappings.named_columns import DELIMITERS, fields_of
from replay.mappings.nearest_layout import Layout, description, nearest_by_names
from replay.mappings.usual_names import JSON_LINES, KNOWN, PARQUET, aliased, usual_mapping
from replay.reading.containers.columnar import column_types, is_columnar
from replay.reading.delimited import header_of
from replay.reading.format import Format
from replay.reading.packed_files import first_line, first_lines, members
from replay.reading.time_evidence import UnclearTimes, resolve
from stream.file_shape import FileShape
from stream.log_mapping import LogMapping

LINES = 20  # of JSON, by which a format is known
FORMATS = {
    f.name: f
    for f in (
        globo.FORMAT, rsc15.PREPROCESSED, rsc15.RAW, rsc15.BUYS, mkechinov.FORMAT, online_retail.FORMAT,
        online_retail.SECOND, retailrocket.FORMAT, diginetica.VIEWS, diginetica.PURCHASES, trivago.FORMAT,
        movielens.RATINGS, movielens.RATINGS_CSV, lastfm.FORMAT, mind.FORMAT, thirty_music.FORMAT,
        amazon.REVIEWS, amazon.REVIEWS_CSV, amazon.RATINGS, amazon.RATINGS_2018, JSON_LINES, PARQUET,
    )
}  # fmt: skip
# A CSV file whose columns have usual names.
USUAL_CSV = "csv"
BY_USUAL_NAMES = (USUAL_CSV, JSON_LINES.name, PARQUET.name)
# A file in every workbook of Excel.
WORKBOOK = "[Content_Types].xml"
# What --format may name.
NAMED = (*FORMATS, *KNOWN_MAPPINGS, USUAL_CSV)
# The events of a topic or an archive, which are events already.
LOGGED = replace(PARQUET, name="logged")
# Formats of metadata: joined to events, without events.
METADATA = {f.name: f for f in (movielens.MOVIES, movielens.MOVIES_CSV, amazon.METADATA, amazon.METADATA_CSV)}


def detect(path: Path) -> str:
    """The name of a file's format, of events or of metadata. Raises NextclickError when it is unknown.

    >>> path = Path("/tmp/nextclick-doctest.csv")
    >>> _ = path.write_text("timestamp_ms,session_id,user_id,item_id\\n")
    >>> detect(path)
    'globo'
    """
    return detected_format(path).name


def detected_format(path: Path) -> Format:
    """A file's format, of events or of metadata. Raises NextclickError when it is unknown."""
    found = known_format(path)
    if found is not None:
        return found
    guess = f"Have it guessed: nextclick data guess {shlex.quote(str(path))}"
    say = "or say which of its --columns is what, or name its --format."
    if is_columnar(path):
        names = list(column_types(path))
        raise NextclickError(
            f"{path}: which of its columns is what is not known: {', '.join(names)}",
            f"A session, an item and a time are needed. {nearest_by_names(names, _layouts())}",
            f"{guess}, {say}",
        )
    lines = first_lines(path, LINES)
    if not lines[0]:
        raise NextclickError(f"{path} is empty", "It has no events.", "Check the file.")
    if "\0" in lines[0]:
        raise NextclickError(
            f"{path} is no text: its first line has zero bytes, as in programs and UTF-16 without its mark",
            "CSV and JSON are read, packed or not, and Parquet, Arrow and ORC.",
            "Unpack it, or write it as UTF-8: iconv -f utf-16 -t utf-8 FILE > NEW",
        )
    raise NextclickError(
        f"{path}, line 1: the format is unknown: {lines[0][:120]!r}",
        description(lines, _layouts()),
        f"{guess}, {say}",
    )


def _layouts() -> list[Layout]:
    """The published formats of which the names of columns are known."""
    headed = [
        Layout(form.name, form.columns) for form in FORMATS.values() if form.header and not form.aliases
    ]
    return [*headed, Layout("JSON lines of usual names", tuple(names[0] for names in KNOWN.values()))]


def known_format(path: Path) -> Format | None:
    """A file's format, of events or of metadata; None when it is unknown."""
    if is_columnar(path):
        names = list(column_types(path))
        if aliased(names):
            return PARQUET
        return _of_a_mapping(path) or _published_as_parquet(names)
    line, *more = first_lines(path, LINES)
    for candidate in (*FORMATS.values(), *METADATA.values()):
        # Only lines without a header are alike; one of them may lack what the others have.
        if any(_matches(candidate, one) for one in (line, *(more if line.startswith("{") else ()))):
            return _usual_table(path, line) if _has_other_times(candidate, line, more) else candidate
    return _of_a_mapping(path) or _usual_table(path, line, *more[:1])


def _has_other_times(form: Format, header: str, lines: list[str]) -> bool:
    """Whether a file has the columns of a format, and in no row a time as that has them."""
    if form.time_shape is None or not form.header:
        return False
    names = fields_of(header, form.delimiter)
    fields = [fields_of(line, form.delimiter) for line in lines if line]
    rows = pd.DataFrame([row for row in fields if len(row) == len(names)], columns=names, dtype="str")
    # One row may just be broken.
    if len(rows) < 2 or usual_mapping(names) is None or not form.converter()(rows).broken.ne("").all():
        return False
    column = rows[form.time_shape[0]]
    try:
        return bool(resolve(column).to_ms(column).notna().any())
    except UnclearTimes as unclear:
        return unclear.more


def _of_a_mapping(path: Path) -> Format | None:
    known = known_by_mapping(path)
    return None if known is None else known.format_of(path)


def check_naming(format: str | None, *, has_mapping: bool, logged: str = "") -> None:
    """Raises NextclickError for a format that is not known, for a format and a mapping together, and for
    either of them beside a topic or an archive, `logged`."""
    if logged and (format is not None or has_mapping):
        raise NextclickError(
            f"{logged} holds events, of which nothing has to be said",
            "A format and a mapping (--format, --columns, --log) are of files of another layout.",
            "Leave them out.",
        )
    if format is not None and format not in NAMED:
        raise NextclickError(
            f"there is no format {format!r}",
            f"Known are: {', '.join(NAMED)}; metadata are known by their content.",
            "Name one of them with --format.",
        )
    if has_mapping and format is not None:
        raise NextclickError(
            f"both a format, {format}, and a mapping of columns are named",
            "A format says already which column is what.",
            "Name --format, or --columns, or --log.",
        )


def named_format(path: Path, name: str) -> Format:
    """The format that --format names, for a file. Raises NextclickError when the file is not of it."""
    if name in KNOWN_MAPPINGS:
        return KNOWN_MAPPINGS[name].format_of(path)
    if name != USUAL_CSV:
        return FORMATS[name]
    found = _usual_table(path, *first_lines(path, 2))
    if found is None:
        raise NextclickError(
            f"{path}: which of its columns is what is not known: {first_line(path)[:200]!r}",
            "A session, an item and a time are needed.",
            "Say which they are: --columns session=…,item=…,time=…",
        )
    return found


def check_families(events: list[tuple[Path, Format]], metadata: list[tuple[Path, Format]]) -> None:
    """Raises NextclickError for metadata without an event file that they belong to."""
    families = {form.family for _, form in events}
    for path, form in metadata:
        if form.family not in families:
            raise NextclickError(
                f"{path} holds metadata ({form.name}), and no event file that it belongs to is named",
                "Metadata are joined to events; there are none of theirs.",
                f"Name the {form.family} event file beside it, or leave it out.",
            )


def session_gap_of(forms: list[Format], named: LogMapping | None, logged: list[float | None]) -> float | None:
    """The session gap that a mapping says, or the layouts of files, or the topics and archives in `logged`.

    None where they say none, or not the same.
    """
    if named is not None:
        return named.session_gap_s
    known = [KNOWN_MAPPINGS[form.name].mapping for form in forms if form.name in KNOWN_MAPPINGS]
    gaps = {mapping.session_gap_s for mapping in known} | {gap_s for gap_s in logged if gap_s is not None}
    return gaps.pop() if len(gaps) == 1 else None


def _published_as_parquet(names: list[str]) -> Format | None:
    """A published table that somebody has written as Parquet, by the names of its columns."""
    for form in FORMATS.values():
        if form.header and not form.aliases and set(form.columns) <= set(names):
            return replace(form, parquet=True)
    return None


def _usual_table(path: Path, header: str, line: str = "") -> Format | None:
    """The format of a table whose columns have usual names, and whose first row has as many."""
    for delimiter in DELIMITERS:
        names, fields = fields_of(header, delimiter), fields_of(line, delimiter)
        mapping = usual_mapping(names)
        if mapping is not None and (not line or '"' in line or len(fields) == len(names)):
            shape = FileShape(delimiter=delimiter, header=True)
            return format_of(path, replace(mapping, files=shape), USUAL_CSV)
    return None


def known_members(path: Path, format: str | None) -> tuple[list[Path], list[Path]]:
    """The files of a zip that are of the format (of any, by default), and those left out.

    Without a single one of them, and for any other file, nothing is left out.
    """
    every = members(path)
    if any(one.name == WORKBOOK for one in every):
        raise NextclickError(
            f"{path} is a workbook of a spreadsheet",
            "Text and Parquet are read; nothing was.",
            "Save the sheet as CSV, in UTF-8, and name that.",
        )
    if len(every) < 2:
        return every, []
    known = [one for one in every if (_is_of(one, format) if format else known_format(one))]
    return known or every, [one for one in every if known and one not in known]


def _is_of(path: Path, name: str) -> bool:
    """Whether a file is of the format, or of the metadata of its family."""
    if is_columnar(path):
        return name in FORMATS and FORMATS[name].parquet
    if name in KNOWN_MAPPINGS:
        known = known_by_mapping(path)
        return known is not None and known.name == name
    if name == USUAL_CSV:
        return _usual_table(path, *first_lines(path, 2)) is not None
    metadata = metadata_format(path)
    if metadata is not None:
        return metadata.family == FORMATS[name].family
    return any(line and _matches(FORMATS[name], line) for line in first_lines(path, LINES))


def metadata_format(path: Path) -> Format | None:
    """The format of a metadata file; None for a file of events or of an unknown format."""
    if is_columnar(path):
        return None
    line = first_line(path)
    if any(_matches(candidate, line) for candidate in FORMATS.values()):
        return None
    return next((candidate for candidate in METADATA.values() if _matches(candidate, line)), None)


def _matches(candidate: Format, line: str) -> bool:
    if candidate.matches(line):
        return True
    if not candidate.header or '"' not in line:
        return False
    # R's write.csv, among others, quotes every name.
    return candidate.matches(candidate.delimiter.join(header_of(line, candidate.delimiter)))
