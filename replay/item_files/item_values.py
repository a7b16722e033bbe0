"""Texts of a file of items as shops write them: prices, times, yes and no.

Tested by tests/unit/replay/item_files/test_item_rows.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pandas as pd

from replay.item_files.item_mapping import YES
from replay.reading.values import UNCLEAR_PRICE
from replay.reading.values import price_of as prices_of
from stream.catalogue.item_word import RejectedWord

AFFIRMATIVE = {"true", "yes", "y", "1", "t", "in stock", "instock", "available", "ja", "si", "sí", "oui"}
NEGATIVE = {
    "false", "no", "n", "0", "f", "out of stock", "outofstock", "unavailable", "not available", "sold out",
    "soldout", "nein", "non",
}  # fmt: skip
# A price with its currency before or after it: 15.00 USD, €12,50.
CURRENCY = r"(?:[A-Z]{3}|[€$£¥₹₽₩]|zł|kr\.?|Kč|Ft|lei)"
PRICE = re.compile(rf"\s*{CURRENCY}?\s*([-+]?[0-9][0-9.,]*|[-+]?[.,][0-9]+)\s*{CURRENCY}?\s*")


def number_text(text: str) -> str:
    """A price without its currency; any other text as it is.

    >>> number_text("15.00 USD"), number_text("€ 12,50"), number_text("cheap")
    ('15.00', '12,50', 'cheap')
    """
    found = PRICE.fullmatch(text)
    return text if found is None else found[1]


def price_of(text: str, decimal: str = "") -> float:
    """A price. Raises RejectedWord.

    >>> price_of("12.50"), price_of("1.299,00 EUR", ",")
    (12.5, 1299.0)
    """
    plain = number_text(text)
    if decimal != ",":
        try:
            price = float(plain)
        except ValueError:
            price = _with_commas(text, plain, decimal)
    else:
        price = _with_commas(text, plain, decimal)
    if not 0 <= price < float("inf"):
        raise RejectedWord("price", f"a price of {text}")
    return price


def _with_commas(text: str, plain: str, decimal: str) -> float:
    price, none, unclear = (found.iloc[0] for found in prices_of(pd.Series([plain], dtype="str"), decimal))
    if unclear:
        raise RejectedWord("price", f"{text!r}: {UNCLEAR_PRICE}; say decimal=comma or decimal=point")
    if none or pd.isna(price):
        raise RejectedWord("price", f"{text!r} is no number")
    return float(price)


def says_yes(text: str, values: Mapping[str, str]) -> bool | None:
    """Whether a text says yes; a number of pieces does above 0. None where it says neither yes nor no.

    >>> says_yes("In stock", {}), says_yes("12", {}), says_yes("gone", {"gone": "no"}), says_yes("soon", {})
    (True, True, False, None)
    """
    if text in values:
        return values[text] == YES
    plain = text.strip().casefold().replace("_", " ").replace("-", " ")
    for value, meaning in values.items():
        if value.casefold() == text.strip().casefold():
            return meaning == YES
    if plain in AFFIRMATIVE or plain in NEGATIVE:
        return plain in AFFIRMATIVE
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", plain):
        return float(plain) > 0
    return None


def is_yes(text: str, values: Mapping[str, str]) -> bool:
    """Whether a text says yes. Raises RejectedWord where it says neither yes nor no."""
    found = says_yes(text, values)
    if found is None:
        raise RejectedWord(
            "available", f"{text!r} is neither yes nor no; available=COLUMN:{text}=no says what it means"
        )
    return found


def moment_of(text: str, zone: str = "UTC") -> int:
    """Epoch milliseconds, from such a number or an ISO time, in a zone where it names none.

    Raises RejectedWord.

    >>> moment_of("2026-12-24T00:00Z"), moment_of("1700000000000")
    (1798070400000, 1700000000000)
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RejectedWord("times", f"{text!r} is neither epoch milliseconds nor an ISO time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    return int(moment.timestamp() * 1000)
