import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.sessions.offsets import AppliedOffsets, decode_metadata, encode_metadata
from stream.sessions.watermark import NO_WATERMARK, SOLO_MS, VOTES, Watermark

MINUTE_MS, DAY_MS = 60_000, 86_400_000
NOON_MS = 1_700_000_000_000


def after(*events: tuple[str, int], start: Watermark = NO_WATERMARK) -> Watermark:
    watermark = start
    for session_id, time_ms in events:
        watermark = watermark.after(session_id, time_ms)
    return watermark


def shop(start_ms: int = NOON_MS, sessions: int = VOTES) -> Watermark:
    """A partition in which many sessions have voted, one a second."""
    return after(*((f"s{i}", start_ms + 1000 * i) for i in range(sessions)))


def test_the_watermark_is_the_largest_event_time() -> None:
    watermark = after(("a", NOON_MS), ("b", NOON_MS + 5), ("c", NOON_MS + 9), ("d", NOON_MS + 3))
    assert watermark.ms == NOON_MS + 9


def test_one_wrong_stamp_does_not_move_the_watermark() -> None:
    start = Watermark(NOON_MS)
    moved = after(("wrong", NOON_MS + 365 * DAY_MS), ("a", NOON_MS + 10), start=start)
    assert moved.ms == NOON_MS + 10


def test_one_session_with_a_wrong_clock_does_not_move_the_watermark() -> None:
    wrong = [("wrong", NOON_MS + DAY_MS + i) for i in range(5)]
    assert after(*wrong, ("a", NOON_MS + 10), start=Watermark(NOON_MS)).ms == NOON_MS + 10


def test_after_a_silence_the_second_session_moves_the_watermark() -> None:
    morning = NOON_MS + DAY_MS
    assert after(("a", morning), start=Watermark(NOON_MS)).ms == NOON_MS
    assert after(("a", morning), ("b", morning + 7), start=Watermark(NOON_MS)).ms == morning


def test_leaping_posts_of_several_sessions_end_nobody_s_session() -> None:
    start = shop()
    posts = [(f"attacker{i}", start.ms + 55 * MINUTE_MS) for i in range(3)]
    assert after(*posts, ("stranger", start.ms + 1), start=start).ms == start.ms + 1
    # Nor where the partition knows one other session only.
    alone = Watermark(NOON_MS).after("stranger", NOON_MS + 5)
    assert after(*((name, NOON_MS + 55 * MINUTE_MS) for name, _ in posts), start=alone).ms == alone.ms


@pytest.mark.parametrize("step_ms", [1, 30_000, SOLO_MS, 599_000, 3_600_000])
def test_a_clock_that_runs_ahead_step_by_step_gains_a_minute_at_most(step_ms: int) -> None:
    watermark = start = shop()
    for number in range(1, 1000):
        watermark = watermark.after("attacker", start.ms + number * step_ms)
    assert watermark.ms <= start.ms + SOLO_MS


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_a_minority_of_clocks_moves_the_watermark_by_a_minute_at_most(share: float, seed: int) -> None:
    rng = random.Random(seed)
    watermark = shop()
    now_ms = watermark.ms
    for number in range(3000):
        now_ms += rng.randrange(2000)
        wrong_ms = rng.choice([MINUTE_MS, 10 * MINUTE_MS, 55 * MINUTE_MS, DAY_MS])
        is_wrong = rng.random() < share
        watermark = watermark.after(f"{number}", now_ms + (wrong_ms if is_wrong else 0))
        assert watermark.ms <= now_ms + SOLO_MS


def test_slow_clocks_do_not_hold_the_watermark_back() -> None:
    rng = random.Random(7)
    watermark = shop()
    now_ms = watermark.ms
    for number in range(3000):
        now_ms += rng.randrange(2000)
        watermark = watermark.after(f"{number}", now_ms - (DAY_MS if rng.random() < 0.2 else 0))
    assert now_ms - 10_000 < watermark.ms <= now_ms


def test_a_night_without_events_is_over_when_two_thirds_of_the_sessions_say_so() -> None:
    watermark = shop()
    morning = watermark.ms + DAY_MS
    needed = 0
    while watermark.ms < morning:
        watermark = watermark.after(f"m{needed}", morning + needed)
        needed += 1
    assert needed == 1 + VOTES - VOTES // 3 - 1


def test_the_metadata_of_a_commit_fit_into_what_kafka_keeps() -> None:
    most = Watermark(
        4_102_444_800_000, 0, "", 4_102_444_800_000, (2**32 - 1,) * VOTES, (4_102_444_800_000,) * VOTES
    )
    applied = AppliedOffsets(2**62, most, 2**62, [], 0, 2**62, most, "a" * 22)
    text = encode_metadata(applied)
    assert len(text) < 4096
    found = decode_metadata(text)
    assert found is not None
    assert found.watermark == found.recover_watermark == most


def test_a_watermark_of_an_earlier_release_goes_on() -> None:
    old = msgspec.json.decode(b'[5000,9000000,"ahead"]', type=Watermark)
    assert old.ms == 5000
    assert old.after("a", 5010).ms == 5010


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 500 * SOLO_MS)), max_size=80))
def test_the_watermark_never_goes_back_and_never_beyond_the_largest_time(
    events: list[tuple[str, int]],
) -> None:
    watermark, largest = NO_WATERMARK, 0
    for session_id, time_ms in events:
        before, largest = watermark.ms, max(largest, time_ms)
        watermark = watermark.after(session_id, time_ms)
        assert before <= watermark.ms <= largest
