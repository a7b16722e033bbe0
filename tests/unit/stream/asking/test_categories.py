"""Items of categories are looked for again only where something was said of items meanwhile."""

from types import SimpleNamespace
from typing import cast

import numpy as np

from stream.asking.categories import KEPT_S, POPULAR, Categories
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.wave.serving_model import ServingModel

ITEMS = 3 * POPULAR


def a_version(items: int = ITEMS) -> ServingModel:
    """A version whose item i{n} had n events."""
    names = [f"i{n}" for n in range(items)]
    vocabulary = SimpleNamespace(
        index={name: n for n, name in enumerate(names)},
        item_ids=np.array(names, object),
        counts=np.arange(items),
        attributes={},
    )
    return cast(ServingModel, SimpleNamespace(version="v", vocabulary=vocabulary))


def test_nothing_is_read_again_while_nothing_is_said_and_the_order_only_for_new_items() -> None:
    now = [0.0]
    catalogue, serving = Catalogue(), a_version()
    categories = Categories(catalogue, now_s=lambda: now[0])
    first = categories.get(serving, None)
    assert first is not None and first.popular.ids[:2] == [f"i{ITEMS - 1}", f"i{ITEMS - 2}"]
    now[0] = 1_000.0
    assert categories.get(serving, None) is first
    catalogue.apply([(f"i{ITEMS - 1}", ItemWord(available=False))], "0-0")
    second = categories.get(serving, None)
    assert second is not None and second.popular.ids[0] == f"i{ITEMS - 2}"
    assert second.places_C is first.places_C, "the order of the catalogue is that of before"
    catalogue.apply([(f"i{ITEMS - 2}", ItemWord(available=False))], "0-1")
    assert categories.get(serving, None) is second, "within a second it may be as it was"
    now[0] += 2 * KEPT_S
    third = categories.get(serving, None)
    assert third is not None and third.popular.ids[0] == f"i{ITEMS - 3}"
    serving.vocabulary.index["new"] = ITEMS
    serving.vocabulary.item_ids = np.append(serving.vocabulary.item_ids, "new")
    grown = categories.get(serving, None)
    assert grown is not None and len(grown.places_C) == ITEMS + 1


def test_popular_items_are_found_after_thousands_that_may_not_be_listed() -> None:
    catalogue, serving = Catalogue(), a_version()
    catalogue.apply([(f"i{n}", ItemWord(available=n < 5)) for n in range(ITEMS)], "0-0")
    found = Categories(catalogue).get(serving, None)
    assert found is not None and found.popular.ids == ["i4", "i3", "i2", "i1", "i0"]


def test_an_item_that_moves_to_another_category_is_found_there_a_second_later() -> None:
    now = [0.0]
    catalogue, serving = Catalogue(), a_version(20)
    categories = Categories(catalogue, now_s=lambda: now[0])
    catalogue.apply([("i1", ItemWord(category="hats")), ("i2", ItemWord(category="shoes"))], "0-0")
    for category, item in (("hats", "i1"), ("shoes", "i2")):
        found = categories.get(serving, category)
        assert found is not None and found.ids == {item}
    catalogue.apply([("i1", ItemWord(category="shoes/boots"))], "0-1")
    now[0] += 2 * KEPT_S
    assert categories.get(serving, "hats") is None
    shoes = categories.get(serving, "shoes")
    assert shoes is not None and shoes.ids == {"i1", "i2"}


def test_a_sale_that_ends_and_new_rules_are_changes_too() -> None:
    now_ms = [1_000]
    catalogue = Catalogue(now_ms=lambda: now_ms[0])
    catalogue.apply([("i1", ItemWord(available_until_ms=2_000))], "0-0")
    before = catalogue.changes
    catalogue.pass_time()
    assert catalogue.changes == before
    now_ms[0] = 3_000
    catalogue.pass_time()
    assert catalogue.changes == before + 1
    catalogue.set_rules(catalogue.rules)
    assert catalogue.changes == before + 2
