"""Items are found by every word of title, brand and category, whatever was said of them before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.catalogue.item_table import ItemTable
from stream.catalogue.item_word import ItemWord
from stream.catalogue.packed_texts import BLOCK_BYTES
from stream.catalogue.word_search import items_with_words

TABLE = ItemTable()
for item_id, word in {
    "mug": ItemWord("White Mug", "Acme", "home/kitchen", attributes={"colour": "blue", "made in": "Mexico"}),
    "cup": ItemWord("Überhöhte Tasse XL", "ÖKO", ["home", "kitchen"]),
    "sign": ItemWord("КРУЖКА белая, Straße", None, "home"),
    "nameless": ItemWord(brand="Acme"),
    "bare": ItemWord(),
}.items():
    TABLE.put(item_id, word)


@pytest.mark.parametrize(
    ("words", "items"),
    [
        (["mug"], ["mug"]),
        (["MUG", "white"], ["mug"]),
        (["mu"], ["mug"]),
        (["acme"], ["mug", "nameless"]),
        (["acme", "white"], ["mug"]),
        (["kitchen"], ["mug", "cup"]),
        (["home", "öko"], ["cup"]),
        (["überhöhte"], ["cup"]),
        (["ÜBERHÖHTE"], ["cup"]),
        (["кружка"], ["sign"]),
        (["Белая"], ["sign"]),
        (["straße"], ["sign"]),
        (["x"], []),
        (["x", "tasse"], ["cup"]),
        (["z", "tasse"], []),
        # Words of attributes, and the bytes between titles, are none.
        (["blue"], []),
        (["colour"], []),
        (["mexico"], []),
        (["mugacme"], []),
        (["mug\ud800"], []),
        ([], []),
    ],
)
def test_an_item_is_found_by_every_word(words: list[str], items: list[str]) -> None:
    assert items_with_words(TABLE, words) == items


TITLES = st.none() | st.lists(st.sampled_from(["ab", "abc", "Bc", "ñandú", "x"]), max_size=4).map(" ".join)
CHANGES = st.lists(st.tuples(st.integers(0, 6), st.none() | st.builds(ItemWord, title=TITLES)), max_size=40)


@settings(deadline=None, max_examples=100)
@given(changes=CHANGES, words=st.lists(st.sampled_from(["ab", "BC", "ñandú", "c ", "x"]), max_size=3))
def test_what_is_found_is_what_reading_every_title_finds(
    changes: list[tuple[int, ItemWord | None]], words: list[str]
) -> None:
    table, titles = ItemTable(), dict[str, str]()
    for number, word in changes:
        item_id = f"i{number}"
        titles.pop(item_id, None)
        if word is None:
            table.remove(item_id)
        else:
            table.put(item_id, word)
            titles[item_id] = word.title or ""
    found = items_with_words(table, words)
    expected = {i for i, title in titles.items() if all(w.casefold() in title.casefold() for w in words)}
    assert set(found) == (expected if any(len(word) > 1 for word in words) else set())
    assert len(found) == len(set(found))


def test_titles_are_found_in_every_block_of_a_large_table_and_no_more_are_read_than_asked_for() -> None:
    table = ItemTable()
    size = BLOCK_BYTES * 3 // 64
    for n in range(size):
        table.put(f"i{n}", ItemWord(f"{n:06d} {'some words ' * 4}"))
    table.put("i7", ItemWord("another one"))
    for n in (0, 8, size // 3, size // 2, size - 1):
        assert items_with_words(table, [f"{n:06d}"]) == [f"i{n}"]
    assert items_with_words(table, ["000007"]) == []
    assert items_with_words(table, ["words"], most=3) == ["i0", "i1", "i2"]
    assert len(items_with_words(table, ["words"], most=size)) == size - 1
