import pytest

from replay.end_to_end.demo_screen import console, numbers, summary
from replay.sending.replay_report import ReplayReport

ROLLING = {"recall_at_20": 0.25, "mrr_at_20": 0.125, "events": 23703.0}
STATUS = {
    "quality": {name: {"rolling": ROLLING, "total": ROLLING} for name in ("champion", "pop")},
    "accounting": {
        "read": 10, "stepped": 10, "duplicate": 0, "unknown": 0, "ended": 0, "dead_lettered": 0,
        "holds": True,
    },
    "lists": 10,
    "model": "v1",
}  # fmt: skip


def test_events_are_counted_in_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    summary(STATUS, 0, ReplayReport())
    console.print(numbers(STATUS, 5, 10))
    shown = capsys.readouterr().out
    assert "over 23,703 events" in shown
    assert "23,703.0" not in shown
