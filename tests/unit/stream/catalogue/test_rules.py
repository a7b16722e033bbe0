from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.catalogue.rules import Rules, read_rules

WHOLE = """
[never]
without_word = true
categories = ["adult", "home/garden"]
brands = ["Acme"]
older_than_days = 365
attributes.colour = ["pink"]

[session]
seen = true

[[cap]]
per = "brand"
most = 5
[[cap]]
per = "category"
most = 8
depth = 2

[[pin]]
item = "sku-1"
place = 1
until = 2026-12-24T18:00:00+01:00

[[boost]]
brand = "Globex"
up = 3

[fallback]
items = ["sku-7", "sku-8"]
"""


def test_a_file_with_every_rule_is_read_and_its_version_is_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(WHOLE)
    rules = read_rules(path)
    assert rules.never.attributes == {"colour": ("pink",)} and rules.never.older_than_days == 365
    assert [(cap.per, cap.most, cap.depth) for cap in rules.cap] == [("brand", 5, None), ("category", 8, 2)]
    assert rules.pin[0].until_ms == 1_798_131_600_000
    assert rules.session.seen is True and rules.fallback.items == ("sku-7", "sku-8")
    path.write_text(WHOLE + "\n")
    assert read_rules(path).version != rules.version


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("never = 3", ["never: "]),
        ("[never]\nunavailabel = true", ["never.unavailabel: no such rule"]),
        ("[nevr]", ["nevr: no such rule"]),
        ("[placement.basket]\nlenght = 3", ["placement.basket.lenght: no such rule"]),
        ("[placement.basket]\nlength = 0", ["placement.basket.length: "]),
        ('[placement.basket]\nsource = "magic"', ["placement.basket.source: "]),
        ("[placement.basket]\nnever.unavailable = false", ["placement.basket.never.unavailable: no such"]),
        ('[placement."a b"]', ["placement.a b"]),
        ("[placement.basket]\n[[placement.basket.pin]]\nitem='a'\nplace=1\n[[placement.basket.pin]]\n"
         "item='b'\nplace=1", ["placement.basket: pinned to place twice: 1"]),
        (
            "".join(f"[placement.p{n}]\npublished = true\n" for n in range(9)),
            ["placement: 9 are published after every event, 8 at most"],
        ),
        ('version = "mine"', ["version: no such rule"]),
        ('[never]\nbrands = "Acme"', ["never.brands: "]),
        ('[never]\nbrands = [""]', ["never.brands.1: "]),
        ('[never]\nunavailable = "yes"', ["never.unavailable: "]),
        ("[never]\nolder_than_days = 0", ["never.older_than_days: "]),
        ("[never]\nolder_than_days = nan", ["never.older_than_days: "]),
        ('[never.attributes]\ncolour = "pink"', ["never.attributes.colour"]),
        ('[[cap]]\nper = "price"\nmost = 5', ["cap.1.per: "]),
        ('[[cap]]\nper = "brand"', ["cap.1.most: "]),
        ('[[cap]]\nper = "brand"\nmost = 0', ["cap.1.most: "]),
        ('[[cap]]\nper = "brand"\nmost = 21', ["cap.1.most: "]),
        ('[[cap]]\nper = "brand"\nmost = 2\ndepth = 1', ["cap.1: depth is of a category's path"]),
        ('[[cap]]\nper="brand"\nmost=2\n[[cap]]\nper="brand"\nmost=3', ["a cap per twice: brand"]),
        ('[[pin]]\nitem = "a"\nplace = 0', ["pin.1.place: "]),
        ('[[pin]]\nitem = "a"\nplace = 1\nuntil = 2026-12-24T18:00:00', ["pin.1.until: a moment needs its"]),
        ('[[pin]]\nitem = "a"\nplace = 1\nuntil = "soon"', ["pin.1.until: "]),
        ('[[pin]]\nitem="a"\nplace=1\n[[pin]]\nitem="a"\nplace=1', ["to place twice: 1", "pinned twice: a"]),
        ("[[boost]]\nup = 3", ["boost.1: name one of item, brand, category"]),
        ('[[boost]]\nitem = "a"\nbrand = "b"\nup = 3', ["boost.1: name one of item, brand, category"]),
        ('[[boost]]\nitem = "a"\nup = 101', ["boost.1.up: "]),
        ("[fallback]\nitems = [7]", ["fallback.items.1: "]),
        ("[never", ["Expected"]),
        (
            '[never]\nx = 1\n[[cap]]\nper = "brand"\nmost = 0\n[[boost]]\nup = 0',
            ["never.x: no such rule", "cap.1.most: ", "boost.1.up: "],
        ),
    ],
)  # fmt: skip
def test_every_problem_of_a_file_is_named_at_once(text: str, problems: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(NextclickError) as refused:
        read_rules(path)
    for problem in problems:
        assert problem in refused.value.what
    with pytest.raises(ValueError):
        Rules.parse(text)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match="No such file"):
        read_rules(tmp_path / "rules.toml")
    (tmp_path / "rules.toml").write_bytes(b"\xff")
    with pytest.raises(NextclickError, match="decode"):
        read_rules(tmp_path / "rules.toml")
