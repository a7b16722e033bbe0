"""`nextclick demo` on a log of one's own, by a mapping."""

from pathlib import Path

import pytest

from model.registry.registry import Registry
from replay.commands import demo as command
from replay.datasets.event_files import EventFiles
from replay.end_to_end.demo import train_first_model
from tests.harness.commands import run_main

LOG = "wer;was;wann\n" + "".join(f"k{n // 4};a{n % 3};{1_500_000_000 + 60 * n}\n" for n in range(40))


def test_the_demo_reads_a_log_by_its_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, mapping = tmp_path / "log.csv", tmp_path / "mylog.toml"
    log.write_text(LOG)
    columns = 'user = "wer"\nitem = "was"\ntime = "wann"\n'
    mapping.write_text(f'sessions = "gap"\ngap_minutes = 20\n[columns]\n{columns}')
    shown: list[EventFiles] = []

    def run(files: EventFiles, *, epochs: int, seconds: float) -> int:
        shown.append(files)
        return 0

    monkeypatch.setattr(command, "run", run)
    for said in (("--log", mapping), ("--columns", "user=wer,item=was,time=wann,sessions=gap:20")):
        ended = run_main("demo", "--file", log, *said)
        assert ended.code == 0, ended.errors
        reader = shown.pop().open()
        frame = reader.load()
        assert (len(frame), reader.session_gap_s) == (40, 1200)
    assert run_main("demo", "--log", mapping).code == 2


@pytest.mark.parametrize(("sessions", "gap_s"), [("gap:20", 1200), ("user", None)])
def test_the_first_model_ends_sessions_where_the_log_says(
    tmp_path: Path, sessions: str, gap_s: float | None
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    reader = EventFiles([log], columns=f"user=wer,item=was,time=wann,sessions={sessions}").open()
    registry = Registry(tmp_path / "registry")
    train_first_model(reader.load(), registry, 1, reader.session_gap_s)
    assert registry.load().config.session_gap_s == gap_s
