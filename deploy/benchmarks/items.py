"""Memory of a million items, and changes a second, of the table that each worker keeps of the shop's items.

Words of a realistic shape (titles of 45 characters on average, brands, paths of three levels, prices, two
attributes) are read as records of the topic are, and applied in batches as large as a worker's, under rules
and beside a version that is told of each change. Then changes come: two fifths of prices and of what
is sold out, the rest of texts, items taken back and new ones, so many that the room of earlier texts is taken
back, too. Reading the same records without applying them is the limit of the same run. At last items are
searched for by words.

    python deploy/benchmarks/items.py --items 1000000 --changes 500000
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from deploy.benchmarks.measure.process import machine, rss_bytes, show
from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.stepping.stepper import Stepper
from stream.catalogue.catalogue import Catalogue, Word
from stream.catalogue.item_word import ItemWord, decode_word, encode_word
from stream.catalogue.rules import Rules
from stream.catalogue.word_search import items_with_words
from stream.kafka.table_topic import BATCH_RECORDS
from stream.wave.listable_items import MOST_HIDDEN, ListableItems

Record = tuple[bytes, bytes | None]
GOAL_MB, GOAL_PER_S = 400, 10_000
BRANDS, PATHS, WORDS = 5_000, 800, 20_000
KINDS = ("price", "sold out", "text", "taken back", "new")
SHARES = (0.25, 0.17, 0.5, 0.04, 0.04)
# Of each kind: what is never listed, what a list has few of, and what comes up.
RULES = """
[never]
brands = ["brand 17"]
categories = ["department 3/shelf 11"]
older_than_days = 3650
[[cap]]
per = "brand"
most = 5
[[boost]]
category = "department 7"
up = 3
"""


class Shop:
    """Makes records of items, always the same ones in the same order."""

    def __init__(self, items: int) -> None:
        self._items, self._random = items, random.Random(1)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.words = ["".join(self._random.choices(letters, k=3 + n % 7)) for n in range(WORDS)]

    def first(self) -> Iterator[Record]:
        """A word about each item."""
        for number in range(self._items):
            yield f"sku-{number}".encode(), encode_word(self._word(number))

    def changes(self, count: int) -> Iterator[Record]:
        """Changes of items, and some that are new or no more there."""
        self._random.seed(2)
        added = self._items
        for _ in range(count):
            kind = self._random.choices(KINDS, SHARES)[0]
            number = self._random.randrange(self._items)
            if kind == "new":
                number, added = added, added + 1
            word = self._word(number, price=self._random.uniform(1, 500), text=kind in ("text", "new"))
            word.available = kind != "sold out"
            yield f"sku-{number}".encode(), None if kind == "taken back" else encode_word(word)

    def _word(self, number: int, price: float | None = None, text: bool = False) -> ItemWord:
        # An item has its texts by its number, until other ones are wanted.
        own = self._random if text else random.Random(number)
        path = number % PATHS
        return ItemWord(
            title=" ".join(own.choices(self.words, k=7)).capitalize(),
            brand=f"brand {own.randrange(BRANDS)}",
            category=[f"department {path % 20}", f"shelf {path % 80}", f"row {path}"],
            price=round(price or own.uniform(1, 500), 2),
            available_from_ms=1_600_000_000_000 + number,
            attributes={"colour": own.choice(self.words[:40]), "size": float(own.randrange(60))},
        )


def version_beside(catalogue: Catalogue, known: list[str]) -> ListableItems:
    """What a version that knows these items marks as unlisted, capped and boosted."""
    vocabulary = Vocabulary(known, np.ones(len(known), np.int64))
    config = ModelConfig(hidden_size=16)
    model = ModelVersion("benchmark", config, vocabulary, build(config, vocabulary).eval())
    stepper = Stepper(model, device="cpu", wave_size=64, scoring="exact")
    return ListableItems(stepper, vocabulary, catalogue, MOST_HIDDEN)


def batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    """The records as a worker takes them from its consumer."""
    while batch := list(islice(records, BATCH_RECORDS)):
        yield batch


class Took(NamedTuple):
    """How long something took, by the wall and of one core: on a busy machine the one is more."""

    wall_s: float
    core_s: float


def took(do: Callable[[], object]) -> Took:
    """How long a call takes."""
    wall_s, core_s = time.perf_counter(), time.thread_time()
    do()
    return Took(time.perf_counter() - wall_s, time.thread_time() - core_s)


def total(several: Sequence[Took]) -> Took:
    """How long all of them took."""
    return Took(sum(one.wall_s for one in several), sum(one.core_s for one in several))


def read(batch: Sequence[Record]) -> list[Word]:
    """The words of records, as a worker reads them."""
    return [decode_word(key, value) for key, value in batch]


def apply(catalogue: Catalogue, batch: Sequence[Record]) -> None:
    """Read and apply records."""
    catalogue.apply(read(batch), "0-1")


class Applied(NamedTuple):
    """How long each batch of records took to read alone and to read and apply, and the most memory."""

    read: list[Took]
    applied: list[Took]
    peak_bytes: int


def apply_all(catalogue: Catalogue, records: Iterator[Record]) -> Applied:
    """Apply records as they come: none is kept."""
    reading, applying, peak = list[Took](), list[Took](), 0
    for batch in batches(records):
        reading.append(took(partial(read, batch)))
        applying.append(took(partial(apply, catalogue, batch)))
        peak = max(peak, rss_bytes(os.getpid()))
    return Applied(reading, applying, peak)


def longest_search(catalogue: Catalogue, shop: Shop) -> Took:
    """The longest of some searches of two words."""
    texts = [[shop.words[number * 7], f"brand {number}"] for number in range(10)]
    return max(took(partial(items_with_words, catalogue.table, text)) for text in texts)


def said(word: ItemWord | None) -> tuple[object, ...]:
    """What is compared of a word."""
    if word is None:
        return ()
    return word.title, word.brand, word.category_path, word.price, word.available, word.attributes


def main() -> int:
    """Print the figures; 1 where the table does not hold what it was told."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench items",
        description=__doc__.splitlines()[0],
        epilog="example: nextclick bench items --items 1000000 --changes 500000",
    )
    parser.add_argument("--items", type=int, default=1_000_000, help="with a word")
    parser.add_argument("--changes", type=int, default=500_000, help="after these")
    parser.add_argument("--known", type=int, default=46_033, help="items of the version beside")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    shop, catalogue = Shop(arguments.items), Catalogue()
    catalogue.set_rules(Rules.parse(RULES, "benchmark"))
    gc.collect()
    empty = rss_bytes(os.getpid())
    loaded = apply_all(catalogue, shop.first())
    gc.collect()
    full = rss_bytes(os.getpid())
    known = [f"sku-{number}" for number in range(min(arguments.known, arguments.items))]
    # Held: the catalogue tells whoever is there.
    beside = version_beside(catalogue, known)
    of_version = rss_bytes(os.getpid()) - full
    changed = apply_all(catalogue, shop.changes(arguments.changes))
    reading, changing = total(changed.read), total(changed.applied)
    after = rss_bytes(os.getpid()) - of_version
    search = longest_search(catalogue, shop)
    assert len(beside.popular.ids) > 0
    newest = dict(decode_word(key, value) for key, value in shop.changes(arguments.changes))
    wrong = sum(said(catalogue.table.word(item)) != said(word) for item, word in newest.items())
    result: dict[str, Any] = {
        "items": len(catalogue.table),
        "unlisted": catalogue.unlisted,
        "known_by_the_version": len(known),
        "memory_mb": (full - empty) / 1e6,
        "memory_after_changes_mb": (after - empty) / 1e6,
        "memory_at_peak_mb": (max(loaded.peak_bytes, changed.peak_bytes - of_version) - empty) / 1e6,
        "goal_mb": GOAL_MB,
        "loaded_per_s": arguments.items / total(loaded.applied).wall_s,
        "changes": arguments.changes,
        "changes_per_s": arguments.changes / changing.wall_s,
        "changes_per_core_s": arguments.changes / changing.core_s,
        "goal_per_s": GOAL_PER_S,
        "longest_batch_s": max(one.wall_s for one in changed.applied),
        "longest_batch_core_s": max(one.core_s for one in changed.applied),
        "read_alone_per_core_s": arguments.changes / reading.core_s,
        "ratio_to_reading": reading.core_s / changing.core_s,
        "search_s": search.wall_s,
        "search_core_s": search.core_s,
        "wrong": wrong,
        "machine": machine(),
    }
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in result.items()}
    show(rounded, arguments.json, json.dumps)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
