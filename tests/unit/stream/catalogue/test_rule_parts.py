from stream.catalogue.rule_parts import parts_of
from stream.catalogue.rules import NO_RULES, Rules

EVERYTHING = """
[never]
without_word = true
categories = ["adult", "home/garden"]
brands = ["Acme"]
older_than_days = 365
attributes.colour = ["pink", true]
[session]
seen = true
bought = true
bought_days = 30
[[cap]]
per = "brand"
most = 5
[[cap]]
per = "category"
depth = 2
most = 8
[[pin]]
item = "sku-1"
place = 1
until = 2026-12-24T18:00:00+01:00
[[boost]]
brand = "Globex"
up = 3
[[boost]]
item = "sku-9"
up = 2
[fallback]
items = ["sku-7"]
[placement.basket]
cap = []
[placement.basket.never]
brands = ["Globex", "Initech"]
"""


def test_every_rule_is_a_part_and_without_all_of_them_nothing_is_left() -> None:
    rules = left = Rules.parse(EVERYTHING, "v")
    names = [part.name for part in parts_of(rules)]
    assert names == [
        "never.unavailable", "never.without_word", "never.categories.adult", "never.categories.home/garden",
        "never.brands.Acme", "never.attributes.colour", "never.older_than_days", "session.seen",
        "session.bought", "session.bought_days", "session.dismissed", "cap.brand", "cap.category", "boost.1",
        "boost.2", "pin.1", "fallback",
    ]  # fmt: skip
    for count in range(len(names), 0, -1):
        assert len(parts_of(left)) == count
        left = parts_of(left)[0].without
    assert parts_of(left) == []


def test_a_part_is_taken_out_alone() -> None:
    rules = Rules.parse(EVERYTHING, "v")
    for part in parts_of(rules):
        others = [other.name for other in parts_of(rules) if other.name != part.name]
        kept = [other.name for other in parts_of(part.without)]
        # The second boost is the first one of what is left.
        assert len(kept) == len(others) and (part.name == "boost.1" or kept == others)


def test_a_placement_has_its_own_caps_and_what_it_never_has() -> None:
    rules = Rules.parse(EVERYTHING, "v")
    parts = parts_of(rules, rules.placement["basket"])
    assert [part.name for part in parts if part.name.startswith(("cap", "placement"))] == [
        "placement.never.brands.Globex", "placement.never.brands.Initech",
    ]  # fmt: skip
    (globex,) = [part for part in parts if part.name.endswith("Globex")]
    assert globex.own.brands == ("Initech",) and globex.without == rules.of(rules.placement["basket"])


def test_without_a_file_what_holds_is_said_too() -> None:
    assert [part.name for part in parts_of(NO_RULES)] == ["never.unavailable", "session.dismissed"]
