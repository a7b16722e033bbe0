from hypothesis import given, settings
from hypothesis import strategies as st

from stream.catalogue.item_table import ItemTable
from stream.catalogue.item_word import ItemWord
from stream.catalogue.packed_texts import LEAST_COMPACTED_BYTES, PackedTexts

words = st.builds(
    ItemWord,
    title=st.none() | st.text(max_size=5),
    brand=st.sampled_from([None, "a", "b"]),
    category=st.sampled_from([None, "x", "x/y"]),
    price=st.none() | st.floats(0, 100),
    available=st.booleans(),
    available_from_ms=st.none() | st.integers(0, 10**13),
    available_until_ms=st.none() | st.integers(0, 10**13),
    attributes=st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.booleans()),
)


@settings(deadline=None, max_examples=50)
@given(changes=st.lists(st.tuples(st.integers(0, 9), st.none() | words), max_size=60))
def test_the_table_has_the_newest_word_about_each_item(changes: list[tuple[int, ItemWord | None]]) -> None:
    table, expected = ItemTable(), dict[str, ItemWord]()
    for number, word in changes:
        item = f"i{number}"
        if word is None:
            assert table.remove(item) == (expected.pop(item, None) is not None)
        else:
            table.put(item, word)
            expected[item] = word
    assert {item: table.word(item) for item in table.ids()} == expected
    assert len(table) == len(expected)
    assert table.word("never heard of") is None


def test_a_table_of_many_items_grows_and_reuses_rows() -> None:
    table = ItemTable()
    for n in range(5_000):
        table.put(f"i{n}", ItemWord(f"title {n}", f"brand {n % 7}"))
    assert table.remove("i3")
    assert table.put("new", ItemWord("new")) == 3
    assert table.id_of(3) == "new"
    word = table.word("i4999")
    assert word is not None and (word.title, word.brand) == ("title 4999", "brand 1")


def test_texts_that_change_for_ever_take_no_more_room_than_twice_what_they_are() -> None:
    texts, row = PackedTexts(), 0
    expected = dict.fromkeys(range(50), b"")
    for n in range(30_000):
        row = n * 7 % 50
        expected[row] = b"%d" % n * (n % 80)
        texts.put(row, expected[row])
    assert {row: texts.get(row) for row in expected} == expected
    assert len(texts) < 2 * LEAST_COMPACTED_BYTES


def test_the_items_of_a_category_are_without_removed_ones_and_free_rows() -> None:
    table = ItemTable()
    for n in range(3):
        table.put(f"mug-{n}", ItemWord(category="mugs"))
    table.put("bowl", ItemWord(category="bowls"))
    table.put("thing", ItemWord())
    table.remove("mug-1")
    assert table.ids_in([table.categories.number("mugs")]) == ["mug-0", "mug-2"]
    assert table.ids_in([]) == []
