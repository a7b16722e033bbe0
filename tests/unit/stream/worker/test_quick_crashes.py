"""A worker that crashes soon after each start stays out of its group, longer each time."""

import logging
from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.settings import Settings
from stream.worker import quick_crashes
from stream.worker.quick_crashes import MOST_WAIT_S, QUICK_S, REMEMBERED_S, SIZE, QuickCrashes

TIMEOUT_S = 45.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


def run(folder: Path, clock: Clock, lasting_s: float) -> None:
    """One run that crashes."""
    crashes = QuickCrashes(folder, clock, clock)
    crashes.begin()
    clock.now_s += lasting_s
    crashes.add()


def waits_s(folder: Path, clock: Clock) -> float:
    return QuickCrashes(folder, clock, clock).wait_s(TIMEOUT_S)


def test_from_the_third_quick_crash_on_it_waits_twice_as_long_each_time(tmp_path: Path) -> None:
    clock, found = Clock(), []
    for _ in range(12):
        found.append(waits_s(tmp_path, clock))
        run(tmp_path, clock, 2)
    assert found[:7] == [0, 0, 0, 45, 90, 180, MOST_WAIT_S]
    assert set(found[7:]) == {MOST_WAIT_S}
    assert (tmp_path / "crashes").stat().st_size == SIZE


def test_a_run_that_served_begins_the_count_anew_and_so_does_a_clean_end(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(4):
        run(tmp_path, clock, 2)
    run(tmp_path, clock, QUICK_S + 1)
    assert waits_s(tmp_path, clock) == 0
    for _ in range(4):
        run(tmp_path, clock, 2)
    assert waits_s(tmp_path, clock) == 2 * TIMEOUT_S
    QuickCrashes(tmp_path, clock, clock).clear()
    assert waits_s(tmp_path, clock) == 0


def test_old_crashes_and_those_of_a_clock_that_was_ahead_do_not_count(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(3):
        run(tmp_path, clock, 2)
    clock.now_s -= 3_600
    assert waits_s(tmp_path, clock) == 0
    clock.now_s += 3_600
    assert waits_s(tmp_path, clock) == TIMEOUT_S
    clock.now_s += REMEMBERED_S
    assert waits_s(tmp_path, clock) == 0


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b"[null]", b"7", b"\xff\xfe", b'["x"]'])
def test_a_record_that_cannot_be_read_is_none_and_is_written_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "crashes").write_bytes(content)
    clock = Clock()
    assert waits_s(tmp_path, clock) == 0
    for _ in range(3):
        run(tmp_path, clock, 2)
    assert waits_s(tmp_path, clock) == TIMEOUT_S


def test_a_state_folder_that_cannot_be_written_ends_the_worker_before_it_joins(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(NextclickError, match=r"the state folder .* cannot be written") as raised:
        quick_crashes.stay_out_after_crashes(Settings(state_dir=tmp_path / "state"))
    assert "has not joined its group" in raised.value.meaning


def test_a_crash_that_cannot_be_noted_hides_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crashes = QuickCrashes(tmp_path / "gone")
    with caplog.at_level(logging.INFO):
        crashes.add()
        crashes.clear()
    assert "the crash is not noted: " in caplog.text and "crashes are not forgotten: " in caplog.text


def test_the_process_waits_before_its_run_begins_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quick_crashes, "_of_this_process", [])
    settings, slept = Settings(state_dir=tmp_path, session_timeout_ms=10_000), list[float]()
    # Nothing has begun: an error of the start is no crash of a member of the group.
    quick_crashes.note_crash()
    for _ in range(3):
        quick_crashes.stay_out_after_crashes(settings, slept.append)
        quick_crashes.note_crash()
    assert slept == []
    quick_crashes.stay_out_after_crashes(settings, slept.append)
    assert slept == [10.0]
    assert "crashed 3 times soon after its start; it stays out of its group for 10 s" in caplog.text
    quick_crashes.forget_crashes()
    quick_crashes.stay_out_after_crashes(settings, slept.append)
    assert slept == [10.0]
