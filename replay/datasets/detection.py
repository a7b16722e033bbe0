"""Which format a file has, told from its first line."""

from __future__ import annotations

from pathlib import Path

from model.errors import NextclickError
from replay.datasets import amazon, globo, lastfm, mkechinov, movielens, online_retail, rsc15
from replay.datasets.format import Format
from replay.datasets.source import CUT_OFF, cut_off, open_file

# A line of JSON holds a whole review, or a product with its description.
LONGEST_LINE_BYTES = 8 << 20

FORMATS = {
    f.name: f
    for f in (
        globo.FORMAT,
        rsc15.PREPROCESSED,
        rsc15.RAW,
        mkechinov.FORMAT,
        online_retail.FORMAT,
        movielens.RATINGS,
        movielens.RATINGS_CSV,
        lastfm.FORMAT,
        amazon.REVIEWS,
        amazon.REVIEWS_CSV,
        amazon.RATINGS,
        amazon.RATINGS_2018,
    )
}
# What is joined to events, no events of their own.
METADATA = {f.name: f for f in (movielens.MOVIES, movielens.MOVIES_CSV, amazon.METADATA, amazon.METADATA_CSV)}


def detect(path: Path) -> str:
    """The name of a file's format, of events or of metadata. Raises NextclickError when it is unknown."""
    line = _first_line(path)
    for candidate in (*FORMATS.values(), *METADATA.values()):
        if candidate.matches(line):
            return candidate.name
    known = "; ".join(f"{f.name}: {f.shape!r}" for f in (*FORMATS.values(), *METADATA.values()))
    raise NextclickError(
        f"{path}, line 1: the format is unknown: {line[:200]!r}" if line else f"{path} is empty",
        f"A line like one of these was expected: {known}.",
        "Check the file, or name its format with --format.",
    )


def is_metadata(path: Path) -> Format | None:
    """The format of a file of metadata, None for any other."""
    line = _first_line(path)
    if any(candidate.matches(line) for candidate in FORMATS.values()):
        return None
    return next((candidate for candidate in METADATA.values() if candidate.matches(line)), None)


def _first_line(path: Path) -> str:
    try:
        with open_file(path) as file:
            return file.readline(LONGEST_LINE_BYTES).decode("utf-8-sig", "replace").rstrip("\r\n")
    except CUT_OFF as error:
        raise cut_off(path, 1, error) from None
