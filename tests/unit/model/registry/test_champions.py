from pathlib import Path

import pytest

from model.registry.champions import LINE, POINTER, Champions


@pytest.fixture
def champions(tmp_path: Path) -> Champions:
    return Champions(tmp_path)


def test_each_promotion_says_who_was_champion(champions: Champions) -> None:
    assert champions.promote("a") is None
    assert champions.before() == []
    assert champions.promote("b") == "a"
    assert champions.promote("c") == "b"
    assert champions.current() == "c"
    assert champions.before() == ["a", "b"]


def test_promoting_the_champion_again_changes_nothing(champions: Champions) -> None:
    for version in ("a", "b", "b"):
        champions.promote(version)
    assert champions.current() == "b"
    assert champions.before() == ["a"]


def test_going_back_goes_on_from_there(champions: Champions) -> None:
    for version in ("a", "b", "c"):
        champions.promote(version)
    assert champions.go_back("b", "c")
    assert (champions.current(), champions.before()) == ("b", ["a"])
    assert champions.go_back("a", "b")
    assert (champions.current(), champions.before()) == ("a", [])
    assert champions.promote("d") == "a"
    assert champions.before() == ["a"]


def test_a_version_that_is_promoted_again_stands_in_the_line_once(champions: Champions) -> None:
    for version in ("a", "b", "c", "a"):
        champions.promote(version)
    assert champions.before() == ["b", "c"]


def test_going_back_from_what_is_champion_no_more_changes_nothing(champions: Champions) -> None:
    for version in ("a", "b", "c"):
        champions.promote(version)
    assert not champions.go_back("a", "b")
    assert champions.current() == "c"
    with pytest.raises(ValueError, match="x was not champion before c"):
        champions.go_back("x", "c")


def test_a_promotion_that_was_killed_before_the_pointer_moved_has_not_happened(
    champions: Champions, tmp_path: Path
) -> None:
    for version in ("a", "b"):
        champions.promote(version)
    with (tmp_path / LINE).open("a") as line:
        line.write("c\n")
    assert (champions.current(), champions.before()) == ("b", ["a"])
    champions.promote("d")
    assert champions.before() == ["a", "b"]


def test_a_champion_of_before_there_was_a_line_can_be_gone_back_to(
    champions: Champions, tmp_path: Path
) -> None:
    (tmp_path / POINTER).write_text("a\n")
    assert champions.before() == []
    assert champions.promote("b") == "a"
    assert champions.before() == ["a"]


def test_a_version_succeeds_the_champion_that_it_was_held_to_and_no_other(champions: Champions) -> None:
    assert champions.succeed("a", None)
    assert champions.succeed("b", "a")
    assert not champions.succeed("c", "a")
    assert (champions.current(), champions.before()) == ("b", ["a"])
