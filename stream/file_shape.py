"""How files hold their columns, as a mapping says it: of logs, and of a shop's items.

Also what both mappings share: zones, their text as TOML, the error of one that is wrong.

Tested by tests/unit/stream/test_log_mapping.py.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from model.errors import NextclickError

CONTAINERS = ("csv", "json", "json-lines", "parquet", "arrow", "orc")
# Parts of a FileShape that a command line may name, and words for characters that it cannot hold.
SHAPES = ("delimiter", "header", "encoding", "decimal", "quotes", "container")
CHARACTERS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "blank": " ", "point": "."}
# A name that TOML reads without quotes.
BARE = r"[A-Za-z0-9_-]+"
OF_LOG = "--columns session=visitor,item=sku,time=clicked_at"


@dataclass(frozen=True)
class FileShape:
    """How files hold their columns; "" and None: seen in the file.

    container   one of CONTAINERS
    delimiter   between the fields of a CSV file
    header      whether its first line names the columns
    encoding    of its text, a name that Python knows
    decimal     "." or ",", in prices
    quotes      whether values may be quoted
    """

    container: str = ""
    delimiter: str = ""
    header: bool | None = None
    encoding: str = ""
    decimal: str = ""
    quotes: bool | None = None

    def __post_init__(self) -> None:
        """Raises NextclickError for a container, an encoding or a decimal sign that there is not."""
        if self.container not in ("", *CONTAINERS):
            raise no_mapping(f"there is no container {self.container!r}", f"Known: {', '.join(CONTAINERS)}.")
        if self.decimal not in ("", ".", ","):
            raise no_mapping(f"a decimal is a point or a comma, not {self.decimal!r}", "It is of prices.")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except (LookupError, ValueError):
            problem = f"there is no encoding {self.encoding!r}"
            raise no_mapping(problem, "Name one as latin-1.") from None

    def as_dict(self) -> dict[str, Any]:
        """What is said, as a table of TOML or JSON."""
        return {name: value for name, value in vars(self).items() if value not in ("", None)}


def file_shape(table: Mapping[str, Any]) -> FileShape:
    """The shape that a table of TOML says. Raises NextclickError.

    >>> file_shape({"delimiter": ";"}).delimiter
    ';'
    """
    allowed = {
        "container": str,
        "delimiter": str,
        "header": bool,
        "encoding": str,
        "decimal": str,
        "quotes": bool,
    }
    if wrong := [name for name, value in table.items() if not isinstance(value, allowed.get(name, ()))]:
        raise no_mapping(f"[files] has no {', '.join(wrong)} of this type", f"It has {', '.join(allowed)}.")
    return FileShape(**table)


def shape_value(name: str, text: str) -> str | bool:
    """The value of a part of a FileShape: what a command line cannot hold is named by a word."""
    if name not in ("header", "quotes"):
        return CHARACTERS.get(text, text)
    if text not in ("yes", "no"):
        raise no_mapping(f"{name} is yes or no, not {text!r}", "Either the file has it, or it does not.")
    return text == "yes"


def check_zone(name: str) -> None:
    """Raise NextclickError for a zone that the IANA database has not."""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise no_mapping(f"there is no time zone {name!r}", "Name one as Europe/Berlin.") from None


def toml_of(every: Mapping[str, Any]) -> str:
    """The text of a TOML file with these values and tables.

    >>> toml_of({"columns": {"item": "sku"}, "time_unit": "ms"})
    'time_unit = "ms"\\n\\n[columns]\\nitem = "sku"\\n'
    """
    plain = {name: value for name, value in every.items() if not isinstance(value, dict)}
    tables = [f"\n[{name}]\n{_lines(every[name])}" for name in every if name not in plain]
    return (_lines(plain) + "".join(tables)).lstrip("\n")


def _lines(table: Mapping[str, Any]) -> str:
    # JSON writes names, texts, numbers and truth values as TOML reads them.
    return "".join(
        f"{name if re.fullmatch(BARE, name) else _toml(name)} = {_toml(value)}\n"
        for name, value in table.items()
    )


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def no_mapping(problem: str, hint: str, example: str = OF_LOG) -> NextclickError:
    """The error of a mapping that says what cannot be."""
    return NextclickError(
        f"the mapping is wrong: {problem}",
        f"{hint} Without it the columns of the {'log' if example == OF_LOG else 'file'} are not known.",
        f"Write it as {example}, or in a file as the docs show.",
    )
