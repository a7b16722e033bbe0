import logging
from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.rules_file import RulesFile


def test_a_good_version_holds_without_a_restart_and_a_bad_one_is_refused_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path, catalogue = tmp_path / "rules.toml", Catalogue()
    catalogue.apply([("a", ItemWord(brand="Acme")), ("b", ItemWord(brand="Globex"))], "0-1")
    path.write_text('[never]\nbrands = ["Acme"]')
    file = RulesFile(path, catalogue)
    file.load()
    first = catalogue.rules.version
    assert catalogue.is_unlisted("a") and catalogue.rules_report() == {"version": first, "refused": 0}

    path.write_text("[never]\nbrand = 7")
    for _ in range(3):
        file.look()
    assert catalogue.is_unlisted("a") and catalogue.rules_report() == {"version": first, "refused": 1}
    refused = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(refused) == 1 and "never.brand: no such rule" in refused[0].getMessage()

    path.unlink()
    file.look()
    assert catalogue.is_unlisted("a") and catalogue.refused_rules == 2

    path.write_text('[never]\nbrands = ["Globex"]')
    file.look()
    assert catalogue.rules.version != first
    assert not catalogue.is_unlisted("a") and catalogue.is_unlisted("b")


def test_rules_that_leave_nothing_to_list_are_refused_and_those_before_go_on(tmp_path: Path) -> None:
    path, catalogue = tmp_path / "rules.toml", Catalogue()
    catalogue.apply([("a", ItemWord(brand="Acme")), ("b", ItemWord(available=False))], "0-1")
    path.write_text("[never]\nwithout_word = true")
    file = RulesFile(path, catalogue)
    file.load()
    before = catalogue.rules.version
    path.write_text('[never]\nwithout_word = true\nbrands = ["Acme"]')
    file.look()
    assert (catalogue.rules.version, catalogue.refused_rules) == (before, 1)
    assert [catalogue.is_unlisted(item) for item in ("a", "b", "unheard-of")] == [False, True, True]
    with pytest.raises(NextclickError, match="leave nothing to list"):
        RulesFile(path, Catalogue()).load()


def test_rules_are_followed_while_everything_is_only_not_yet_available(tmp_path: Path) -> None:
    path, catalogue = tmp_path / "rules.toml", Catalogue()
    catalogue.apply([("a", ItemWord(available_from_ms=4_000_000_000_000))], "0-1")
    path.write_text("[never]\nwithout_word = true\nunavailable = true")
    RulesFile(path, catalogue).load()
    assert catalogue.is_unlisted("a")


def test_a_worker_does_not_start_with_rules_that_cannot_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text("[[cap]]")
    with pytest.raises(NextclickError, match=r"cap\.1\.per: .*; cap\.1\.most: "):
        RulesFile(path, Catalogue()).load()
