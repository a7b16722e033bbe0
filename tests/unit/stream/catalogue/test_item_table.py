from hypothesis import given, settings
from hypothesis import strategies as st

from stream.catalogue.item_table import FIRST_ROWS, NONE, REUSED_AFTER, ItemTable
from stream.catalogue.item_word import ItemWord

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
        assert set(table.brands.names) - {None} == {word.brand for word in expected.values()} - {None}
        paths = {word.category_path for word in expected.values()} - {None}
        assert set(table.categories.names) - {None} == paths | {"x" for path in paths if path}
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


def test_the_items_of_a_category_are_without_removed_ones_and_free_rows() -> None:
    table = ItemTable()
    for n in range(3):
        table.put(f"mug-{n}", ItemWord(category="mugs"))
    table.put("bowl", ItemWord(category="bowls"))
    table.put("thing", ItemWord())
    table.remove("mug-1")
    assert table.ids_in([table.categories.number("mugs")]) == ["mug-0", "mug-2"]
    assert table.ids_in([]) == []


def test_a_row_that_was_emptied_meanwhile_has_no_title_and_no_attributes() -> None:
    table = ItemTable()
    row = table.put("a", ItemWord("White mug", attributes={"colour": "pink"}))
    assert table.details(row) == ("White mug", {"colour": "pink"})
    table.remove("a")
    assert table.details(row) == (None, None)


def test_names_that_no_item_has_any_more_take_no_room() -> None:
    table, kept = ItemTable(), ItemWord(brand="kept", category="kept/one")
    table.put("kept", kept)
    for n in range(20_000):
        word = ItemWord(f"title {n}", f"brand {n}", f"top {n}/below {n}")
        table.put("changes", word)
        table.put(f"comes and goes {n}", word)
        table.remove(f"comes and goes {n}")
        assert table.word("changes") == word
    assert table.word("kept") == kept
    for names, of_item in ((table.brands, 1), (table.categories, 2)):
        assert len(names) == 2 * of_item
        # Those in use, those that wait, and those that a word takes before it gives its earlier ones back.
        assert len(names.names) <= 3 * of_item + REUSED_AFTER + 1
    assert len(table.available_R) == FIRST_ROWS


def test_a_name_that_changes_has_another_number_and_a_removed_one_has_none() -> None:
    table = ItemTable()
    row = table.put("a", ItemWord(brand="before", category="home/kitchen"))
    number = int(table.brand_R[row])
    table.put("a", ItemWord(brand="after", category="home"))
    assert int(table.brand_R[row]) != number
    assert table.brands.number("before") == NONE == table.categories.number("home/kitchen")
    assert table.categories.name(int(table.category_R[row])) == "home"
    table.remove("a")
    assert [len(table.brands), len(table.categories)] == [0, 0]
