"""Amazon metadata of 2014, 2018 and 2023: title, brand, price and categories by asin.

2014 has one Python dictionary per line, the others JSON. Titles contain entities, tags and sometimes
a whole script. A price is a number, "$1,299.00", a range, or scraped text. Categories are one path or
several. A value that cannot be interpreted is missing.

Tested by tests/unit/replay/datasets/test_amazon.py.
"""

from __future__ import annotations

import ast
import html
import re
from typing import Any, TypeVar

import msgspec
import pandas as pd

from replay.reading.delimited import header_of
from replay.reading.format import LONGEST, Converted, Format, UnreadableLine, reasons, text_or_none

COLUMNS = ("item", "title", "brand", "price", "category")
ALIASES = {
    "item": ("parent_asin", "asin"),
    "title": ("title",),
    "brand": ("brand", "store"),
    "price": ("price",),
    "category": ("categories", "category", "main_category", "main_cat"),
}
TAG = re.compile(r"</?[a-zA-Z!][^>]*>")
AMOUNT = r"\$?\s*(\d[\d,]*(?:\.\d+)?)"
PRICE = re.compile(rf"(?:from\s*)?{AMOUNT}(?:\s*-\s*{AMOUNT})?", re.IGNORECASE)
# Marks a script of the page that was scraped instead of a title.
SCRIPT = "getTime"
T = TypeVar("T")


class _Item(msgspec.Struct):
    """The fields read from a product; every release has its own names."""

    asin: str | None = None
    parent_asin: str | None = None
    # Present in reviews only, which tells them from products.
    reviewerID: str | None = None
    user_id: str | None = None
    title: str | None = None
    brand: str | None = None
    store: str | None = None
    price: int | float | str | None = None
    categories: Any = None
    category: Any = None
    main_category: str | None = None
    main_cat: str | None = None


_decoder = msgspec.json.Decoder(_Item)


def read_object(line: bytes, decoder: msgspec.json.Decoder[T], kind: type[T]) -> T:
    """Decode a line of JSON, or of Python as in 2014. Raises UnreadableLine."""
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        raise UnreadableLine(f"a field is of another type: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise UnreadableLine("not UTF-8") from None
    if not text.lstrip().startswith("{'"):
        raise UnreadableLine("no JSON")
    try:
        return msgspec.convert(ast.literal_eval(text.strip()), kind)
    except (ValueError, SyntaxError, MemoryError, RecursionError, msgspec.ValidationError):
        raise UnreadableLine("neither JSON nor a Python dictionary") from None


def parse(line: bytes) -> tuple[str, ...]:
    """Split a line into item, title, brand, price and category. Raises UnreadableLine."""
    item = read_object(line, _decoder, _Item)
    category = category_path(item.categories) or category_path(item.category)
    return (
        item.parent_asin or item.asin or "",
        item.title or "",
        item.brand or item.store or "",
        "" if item.price is None else str(item.price),
        category or category_path(item.main_category or item.main_cat),
    )


def category_path(value: Any) -> str:
    """Names from the widest to the narrowest, joined by points; several paths separated by |.

    >>> category_path([["Beauty", "Skin"], ["Gifts"]])
    'Beauty.Skin|Gifts'
    """
    if isinstance(value, str):
        return plain_text(value).replace("|", "/")
    if not isinstance(value, (list, tuple)):
        return ""
    if any(isinstance(part, (list, tuple)) for part in value):
        return "|".join(filter(None, dict.fromkeys(category_path(part) for part in value)))
    return ".".join(filter(None, (category_path(part) for part in value)))


def plain_text(text: str) -> str:
    """The text without entities, tags, line ends and repeated blanks.

    >>> plain_text("Salt &amp; <b>pepper</b>")
    'Salt & pepper'
    """
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = TAG.sub(" ", text)
    return " ".join(text.split())


def price_of(text: str) -> float:
    """A price as a number: the lower end of a range, NaN for other text.

    >>> price_of("$1,299.00"), price_of("$5 - $7"), price_of("sold out")
    (1299.0, 5.0, nan)
    """
    found = PRICE.fullmatch(text.strip())
    return float(found[1].replace(",", "")) if found else float("nan")


def convert(chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns to metadata."""
    title = chunk["title"].map(plain_text)
    items = pd.DataFrame(
        {
            "item_id": chunk["item"],
            "price": chunk["price"].map(price_of).astype("float64"),
            "brand": _short(chunk["brand"].map(_brand), "brand"),
            "category": _short(chunk["category"].map(_category), "category"),
            "title": _short(title.where(~title.str.contains(SCRIPT, regex=False), ""), "title"),
        }
    )
    broken = reasons(
        chunk.index,
        (chunk["item"] == "", "no asin"),
    )
    return Converted(items, broken, reasons(chunk.index))


def _short(texts: pd.Series[str], name: str) -> pd.Series[str]:
    """The texts; None for an empty one and for one that is longer than an event allows."""
    texts = texts.astype("str")
    return text_or_none(texts.where(texts.str.len() <= LONGEST[name], ""))


def _brand(text: str) -> str:
    """The brand without the word "by", which 2018 has on a line before it."""
    return plain_text(re.sub(r"^\s*by\s*\n", "", text))


def _category(text: str) -> str:
    """A category from CSV, where lists are printed as Python lists."""
    if not text.startswith("["):
        return text
    try:
        return category_path(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""


def _is_item(line: str) -> bool:
    try:
        item = read_object(line.encode(), _decoder, _Item)
    except UnreadableLine:
        return False
    return bool(item.parent_asin or item.asin) and not (item.reviewerID or item.user_id)


def _is_header(line: str) -> bool:
    names = header_of(line)
    has_user = any(name in names for name in ("reviewerID", "user_id", "UserId"))
    return any(name in names for name in ALIASES["item"]) and len(names) > 1 and not has_user


METADATA = Format(
    "amazon-metadata",
    ", ",
    COLUMNS,
    False,
    _is_item,
    lambda: convert,
    family="amazon",
    parse=parse,
    aliases=ALIASES,
)
METADATA_CSV = Format(
    "amazon-metadata-csv",
    ",",
    COLUMNS,
    True,
    _is_header,
    lambda: convert,
    family="amazon",
    aliases=ALIASES,
    optional=("title", "brand", "price", "category"),
)
