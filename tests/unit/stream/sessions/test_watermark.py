from hypothesis import given
from hypothesis import strategies as st

from stream.sessions.watermark import LEAP_MS, NO_WATERMARK, Watermark

DAY_MS = 86_400_000
NOON_MS = 1_700_000_000_000


def after(*events: tuple[str, int], start: Watermark = NO_WATERMARK) -> Watermark:
    watermark = start
    for session_id, time_ms in events:
        watermark = watermark.after(session_id, time_ms)
    return watermark


def test_the_watermark_is_the_largest_event_time() -> None:
    watermark = after(("a", NOON_MS), ("b", NOON_MS + 5), ("c", NOON_MS + 9), ("d", NOON_MS + 3))
    assert watermark == Watermark(NOON_MS + 9)


def test_one_wrong_stamp_does_not_move_the_watermark() -> None:
    start = Watermark(NOON_MS)
    moved = after(("wrong", NOON_MS + 365 * DAY_MS), ("a", NOON_MS + 10), start=start)
    assert moved == Watermark(NOON_MS + 10)


def test_one_session_with_a_wrong_clock_does_not_move_the_watermark() -> None:
    wrong = [("wrong", NOON_MS + DAY_MS + i) for i in range(5)]
    assert after(*wrong, ("a", NOON_MS + 10), start=Watermark(NOON_MS)) == Watermark(NOON_MS + 10)


def test_after_a_silence_the_second_session_moves_the_watermark() -> None:
    morning = NOON_MS + DAY_MS
    assert after(("a", morning), start=Watermark(NOON_MS)).ms == NOON_MS
    assert after(("a", morning), ("b", morning + 7), start=Watermark(NOON_MS)).ms == morning


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50 * LEAP_MS)), max_size=50))
def test_the_watermark_never_goes_back_and_never_beyond_the_largest_time(
    events: list[tuple[str, int]],
) -> None:
    watermark, largest = NO_WATERMARK, 0
    for session_id, time_ms in events:
        before, largest = watermark.ms, max(largest, time_ms)
        watermark = watermark.after(session_id, time_ms)
        assert before <= watermark.ms <= largest
