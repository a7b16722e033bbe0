"""Amazon metadata of 2014, 2018 and 2023: title, brand, price and categories by asin.

2014 has one Python dictionary per line, the others JSON. Titles hold entities, tags and
sometimes a whole script; a price is a number, "$1,299.00", a range, or what was scraped
beside it; categories are one path or several. What cannot be made out is missing.
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
# Of a page's script that was scraped instead of a title.
SCRIPT = "getTime"
T = TypeVar("T")


class _Item(msgspec.Struct):
    """What is read of a product; every release has its own names."""

    asin: str | None = None
    parent_asin: str | None = None
    # Reviews have one, too: theirs is no product's.
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
    """A line of JSON, or of Python as in 2014, as a record. Raises UnreadableLine."""
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
    """A line → item, title, brand, price and category. Raises UnreadableLine."""
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
    """Names from the widest to the narrowest, joined by points; several paths divided by |."""
    if isinstance(value, str):
        return plain_text(value).replace("|", "/")
    if not isinstance(value, (list, tuple)):
        return ""
    if any(isinstance(part, (list, tuple)) for part in value):
        return "|".join(filter(None, dict.fromkeys(category_path(part) for part in value)))
    return ".".join(filter(None, (category_path(part) for part in value)))


def plain_text(text: str) -> str:
    """Without entities, tags, line ends and doubled blanks."""
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = TAG.sub(" ", text)
    return " ".join(text.split())


def price_of(text: str) -> float:
    """ "$1,299.00" → 1299.0, the lower end of a range, NaN where it is no price."""
    found = PRICE.fullmatch(text.strip())
    return float(found[1].replace(",", "")) if found else float("nan")


def convert(chunk: pd.DataFrame) -> Converted:
    """Chunk of text columns → metadata."""
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
    """None for what is empty, or longer than an event may hold: that is no name."""
    texts = texts.astype("str")
    return text_or_none(texts.where(texts.str.len() <= LONGEST[name], ""))


def _brand(text: str) -> str:
    """2018 has names that were scraped with the word before them, on a line of its own."""
    return plain_text(re.sub(r"^\s*by\s*\n", "", text))


def _category(text: str) -> str:
    """In CSV, lists stand as they were printed."""
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
