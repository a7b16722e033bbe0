"""UCI Online Retail: baskets as sessions, with titles, prices and customers.

A basket is an InvoiceNo; all its lines have one time. Returns (C…), quantities and prices that are not
positive, and codes that are not products are left out. Of an item's lines in a basket the first is
kept. Kaggle's data.csv of it, in Latin-1 and with 12/1/2010 8:26, is read as well (which part of such a
date is the month is seen in the file), and so is Online Retail II, which has other names.

Tested by tests/unit/replay/datasets/test_event_files.py.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from replay.reading.format import (
    Convert,
    Converted,
    Format,
    number,
    reasons,
    text_or_none,
    whole_ms,
)
from replay.reading.repeats import Repeats
from replay.reading.times import TimeUnit

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
# The names of Online Retail II, where they are others.
SECOND_NAMES = {"InvoiceNo": "Invoice", "UnitPrice": "Price", "CustomerID": "Customer ID"}
SECOND_COLUMNS = tuple(SECOND_NAMES.get(name, name) for name in COLUMNS)
# A product code has five digits, followed by up to two letters.
PRODUCT_CODE = r"\d{5}[A-Za-z]{0,2}"


def converter(unit: TimeUnit) -> Convert:
    """The conversion of one file, in which the lines of a basket are adjacent."""
    repeated = Repeats("session_id", "item_id")
    return lambda chunk: convert(chunk, unit, repeated)


def convert(chunk: pd.DataFrame, unit: TimeUnit, repeated: Repeats) -> Converted:
    """Convert a chunk of text columns, whose times are of the unit, to events."""
    times = unit.to_ms(chunk["InvoiceDate"])
    quantity, price = number(chunk["Quantity"]), number(chunk["UnitPrice"])
    code = chunk["StockCode"].str.strip().str.upper()
    events = pd.DataFrame(
        {
            "session_id": chunk["InvoiceNo"],
            "item_id": code,
            "event_time_ms": whole_ms(times),
            "kind": "purchase",
            "user_id": text_or_none(chunk["CustomerID"].str.removesuffix(".0")),
            "price": price,
            "title": text_or_none(chunk["Description"].str.strip()),
        }
    )
    broken = reasons(
        chunk.index,
        (times.isna(), "InvoiceDate is no time"),
        (quantity.isna(), "Quantity is no number"),
        (price.isna(), "UnitPrice is no number"),
        (chunk["InvoiceNo"] == "", "InvoiceNo is empty"),
    )
    left_out = reasons(
        chunk.index,
        (chunk["InvoiceNo"].str.startswith("C"), "return"),
        (~code.str.fullmatch(PRODUCT_CODE), "no product"),
        ((quantity <= 0) | (price <= 0), "no sale"),
    )
    sold = (broken == "") & (left_out == "")
    left_out[repeated(events, sold)] = "repeated line of a basket"
    return Converted(events, broken, left_out)


FORMAT = Format(
    "online-retail",
    ",",
    COLUMNS,
    True,
    lambda line: line == ",".join(COLUMNS),
    converter,
    # Kaggle's data.csv.
    other_encoding="latin-1",
    time_column="InvoiceDate",
)
SECOND = replace(
    FORMAT,
    name="online-retail-ii",
    matches=lambda line: line == ",".join(SECOND_COLUMNS),
    aliases={name: (SECOND_NAMES.get(name, name),) for name in COLUMNS},
)
