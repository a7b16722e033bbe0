"""The choices of `nextclick up` about a file, and the file of settings that keeps them."""

from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.commands.up_choices import Choices, choose_for_file, mapping_file, write_choices
from stream.log_mapping import read_mapping
from stream.settings import load_settings

LOG = "Kunde;Artikel-Nr;Zeitstempel;Aktion\n" + "".join(
    f"k{n // 4};A{n % 9};{1_709_629_235 + 60 * n};Ansicht\n" for n in range(80)
)


def test_what_is_written_is_read_by_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = Choices()
    choices.choose("events_topic", "shop.clicks", 'said, as "the shop" says')
    choices.choose("partitions", 12, "as shop.clicks has")
    choices.choose("web_events", True, "the page sends clicks")
    write_choices(tmp_path / "up.toml", choices)
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(tmp_path / "up.toml"))
    settings = load_settings()
    assert (settings.events_topic, settings.partitions, settings.web_events) == ("shop.clicks", 12, True)
    assert [path.name for path in tmp_path.iterdir()] == ["up.toml"]


def test_the_mapping_of_a_file_is_guessed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, log = tmp_path / "up.toml", tmp_path / "klicks.csv"
    log.write_text(LOG)
    choose_for_file(Choices(), config, log, None)
    written = mapping_file(config, log.name)
    assert read_mapping(written).columns["item"] == "Artikel-Nr"
    assert "Artikel-Nr, by its name" in capsys.readouterr().out
    # A person has corrected it: it holds.
    written.write_text(written.read_text() + "# corrected\n")
    choose_for_file(Choices(), config, log, None)
    assert "is there, and holds" in capsys.readouterr().out
    assert written.read_text().endswith("# corrected\n")


def test_what_is_not_sure_is_refused_with_the_command_to_type(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("".join(f"{n // 3},{n % 7},{1_709_629_235_000 + n}\n" for n in range(60)))
    with pytest.raises(NextclickError) as refused:
        choose_for_file(Choices(), tmp_path / "up.toml", log, None)
    assert f"nextclick up {log} --columns " in refused.value.remedy
    assert list(tmp_path.iterdir()) == [log]
