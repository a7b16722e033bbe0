import gc
from collections.abc import Iterable

from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_table import NONE
from stream.catalogue.item_word import ItemWord
from stream.catalogue.rules import Cap, Rules

ITEMS = ["a", "b", "c", "d", "e"]


class Listener:
    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.unlisted: set[str] = set()
        self.calls = 0

    def items_changed(self, item_ids: Iterable[str]) -> None:
        self.calls += 1
        for item in item_ids:
            (self.unlisted.add if self.catalogue.is_unlisted(item) else self.unlisted.discard)(item)

    def rules_changed(self) -> None:
        self.items_changed(ITEMS)


def test_a_follower_knows_what_may_not_be_listed_from_the_first_moment_on() -> None:
    catalogue = Catalogue()
    catalogue.apply([("a", ItemWord(available=False)), ("b", ItemWord())], "0-1")
    listener = Listener(catalogue)
    catalogue.follow(listener, ["a", "b", "c"])
    assert listener.unlisted == {"a"}
    catalogue.apply([("b", ItemWord(available=False)), ("c", ItemWord(available=False))], "0-3")
    assert listener.unlisted == {"a", "b", "c"}
    catalogue.apply([("a", None), ("b", ItemWord(price=3.0))], "0-5")
    assert listener.unlisted == {"c"}


def test_a_word_that_changes_nothing_for_lists_tells_nobody() -> None:
    catalogue = Catalogue()
    listener = Listener(catalogue)
    catalogue.follow(listener, [])
    calls = listener.calls
    catalogue.apply([("a", ItemWord()), ("a", ItemWord("a title", price=2.0)), ("b", None)], "0-2")
    assert listener.calls == calls and catalogue.position == "0-2"


def test_an_item_is_available_from_its_time_until_its_end_by_the_wall_clock() -> None:
    now = [1_000]
    catalogue = Catalogue(now_ms=lambda: now[0])
    catalogue.apply([("sale", ItemWord(available_from_ms=2_000, available_until_ms=3_000))], "0-0")
    listener = Listener(catalogue)
    catalogue.follow(listener, ["sale"])
    found = []
    for now_ms in (1_000, 1_999, 2_000, 2_999, 3_000, 9_000):
        now[0] = now_ms
        catalogue.pass_time()
        found.append("sale" in listener.unlisted)
    assert found == [True, True, False, False, True, True]
    calls = listener.calls
    catalogue.pass_time()
    assert listener.calls == calls


DAY_MS = 86_400_000


def test_rules_say_what_is_never_listed_and_hold_for_words_before_and_after_them() -> None:
    now = [100 * DAY_MS]
    catalogue = Catalogue(now_ms=lambda: now[0])
    listener = Listener(catalogue)
    catalogue.follow(listener, [])
    old = ItemWord(available_from_ms=95 * DAY_MS)
    words = {
        "a": ItemWord(brand="Acme"),
        "b": ItemWord(category="home/garden/hoses"),
        "c": ItemWord(attributes={"colour": "pink", "size": 7.0}),
        "d": ItemWord(available=False),
        "e": old,
    }
    catalogue.apply(list(words.items())[:3], "0-2")

    def unlisted_by(text: str) -> set[str]:
        catalogue.set_rules(Rules.parse(text, "v"))
        return set(listener.unlisted)

    assert unlisted_by('[never]\nbrands = ["Acme"]') == {"a"}
    catalogue.apply(list(words.items())[3:], "0-4")
    assert listener.unlisted == {"a", "d"}
    assert unlisted_by('[never]\ncategories = ["home/garden"]') == {"b", "d"}
    assert unlisted_by('[never]\ncategories = ["home/gar"]\nunavailable = false') == set()
    assert unlisted_by('[never.attributes]\ncolour = ["pink", "grey"]') == {"c", "d"}
    assert unlisted_by("[never.attributes]\nsize = [7]") == {"c", "d"}
    assert unlisted_by("[never]\nolder_than_days = 6") == {"d"}
    now[0] += DAY_MS
    catalogue.pass_time()
    assert listener.unlisted == {"d", "e"}
    assert unlisted_by("[never]\nwithout_word = true\nunavailable = false") == set()
    catalogue.apply([("b", None)], "0-5")
    assert listener.unlisted == {"b"}
    assert catalogue.is_unlisted("unheard-of")


def test_followers_read_the_rules_again_when_a_pin_or_a_boost_ends() -> None:
    now = [1_000]
    catalogue = Catalogue(now_ms=lambda: now[0])
    listener = Listener(catalogue)
    catalogue.follow(listener, [])
    catalogue.apply([("a", ItemWord(brand="Acme"))], "0-0")
    catalogue.set_rules(Rules.parse('[[boost]]\nbrand = "Acme"\nup = 4\nuntil = 1970-01-01T00:00:02Z'))
    assert (catalogue.places_up("a"), catalogue.places_up("b")) == (4, 0)
    calls = listener.calls
    catalogue.pass_time()
    assert listener.calls == calls
    now[0] = 2_000
    catalogue.pass_time()
    assert listener.calls == calls + 1 and catalogue.places_up("a") == 0


class Recorder(Listener):
    def items_changed(self, item_ids: Iterable[str]) -> None:
        TOLD.extend(item_ids)


TOLD: list[str] = []


def test_a_follower_that_nobody_has_any_more_is_told_nothing() -> None:
    catalogue = Catalogue()
    recorder = Recorder(catalogue)
    catalogue.follow(recorder, [])
    catalogue.apply([("a", ItemWord(available=False))], "0-0")
    del recorder
    gc.collect()
    catalogue.apply([("b", ItemWord(available=False))], "0-1")
    assert TOLD == ["a"]


def test_a_category_counts_with_those_below_it_as_far_down_as_a_cap_says() -> None:
    catalogue = Catalogue(now_ms=lambda: 0)
    paths = {"deep": "home/kitchen/mugs", "beside": "home/kitchen/bowls", "flat": "home", "other": "garden"}
    catalogue.apply([(item, ItemWord(category=path)) for item, path in paths.items()], "0-4")
    group = {item: catalogue.group(item, Cap(per="category", most=1, depth=2)) for item in paths}
    assert group["deep"] == group["beside"]
    assert len(set(group.values())) == 3
    assert catalogue.group("unheard-of", Cap(per="category", most=1, depth=2)) == NONE
    catalogue.apply([("deep", None)], "0-5")
    assert catalogue.group("beside", Cap(per="category", most=1, depth=2)) == group["beside"]
