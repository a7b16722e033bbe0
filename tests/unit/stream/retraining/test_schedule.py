import time
from itertools import islice

import pytest

from model.errors import NextclickError
from stream.retraining.schedule import Clock, Cron, Every, WallClock, ticks

HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_700_006_400_000  # 2023-11-15 00:00 UTC


class StepClock:
    """A time that goes on by one of `steps_ms` whenever somebody waits."""

    def __init__(self, now_ms: int | None, steps_ms: list[int | None]) -> None:
        self.time_ms = now_ms
        self.steps_ms = steps_ms

    def now_ms(self) -> int | None:
        return self.time_ms

    def begin_ms(self) -> int | None:
        return self.now_ms()

    def sleep(self, seconds: float) -> None:
        self.time_ms = self.steps_ms.pop(0)


def test_a_period_ticks_at_its_multiples() -> None:
    every = Every("6h")
    assert every.next_after(MIDNIGHT_MS) == MIDNIGHT_MS + 6 * HOUR_MS
    assert every.next_after(MIDNIGHT_MS - 1) == MIDNIGHT_MS
    assert every.newest_until(MIDNIGHT_MS) == MIDNIGHT_MS
    assert every.newest_until(MIDNIGHT_MS - 1) == MIDNIGHT_MS - 6 * HOUR_MS


@pytest.mark.parametrize(
    ("text", "period_ms"), [("30s", 30_000), ("15m", 900_000), ("1d", 24 * HOUR_MS), ("2h", 2 * HOUR_MS)]
)
def test_a_period_has_a_unit(text: str, period_ms: int) -> None:
    assert Every(text).next_after(0) == period_ms


def test_a_cron_expression_ticks_as_the_period_that_it_says() -> None:
    cron, every = Cron("0 */6 * * *"), Every("6h")
    for time_ms in range(MIDNIGHT_MS - 1, MIDNIGHT_MS + 24 * HOUR_MS, 1_799_999):
        assert cron.next_after(time_ms) == every.next_after(time_ms)
        assert cron.newest_until(time_ms) == every.newest_until(time_ms)
    assert cron.next_after(MIDNIGHT_MS) == MIDNIGHT_MS + 6 * HOUR_MS
    assert cron.newest_until(MIDNIGHT_MS) == MIDNIGHT_MS


@pytest.mark.parametrize("text", ["", "6", "0h", "6 hours", "-1h", "1.5h"])
def test_what_is_no_period_is_an_error(text: str) -> None:
    with pytest.raises(NextclickError, match="no period"):
        Every(text)


@pytest.mark.parametrize("text", ["", "* * * *", "61 * * * *", "0 0 31 2 *", "* * * * * *", "hourly"])
def test_what_is_no_cron_expression_is_an_error(text: str) -> None:
    with pytest.raises(NextclickError, match="no cron expression"):
        Cron(text)


def test_a_tick_comes_when_its_time_has_come_and_missed_ones_once() -> None:
    steps: list[int | None] = [5, 10, 12, 47, 50]
    clock = StepClock(3, [MIDNIGHT_MS + step * HOUR_MS for step in steps if step is not None])
    clock.time_ms = MIDNIGHT_MS + 3 * HOUR_MS
    found = list(islice(ticks(Every("6h"), clock, sleep=clock.sleep), 4))
    assert [(tick - MIDNIGHT_MS) / HOUR_MS for tick in found] == [6, 12, 42, 48]


def test_what_is_due_since_before_comes_at_once() -> None:
    clock = StepClock(MIDNIGHT_MS, [])
    tick = next(ticks(Every("6h"), clock, since_ms=MIDNIGHT_MS - 20 * HOUR_MS, sleep=clock.sleep))
    assert tick == MIDNIGHT_MS


def test_a_clock_without_a_time_or_an_answer_is_asked_again() -> None:
    class Failing(StepClock):
        def now_ms(self) -> int | None:
            if self.time_ms == -1:
                raise NextclickError("no broker", "", "")
            return super().now_ms()

    clock = Failing(None, [-1, MIDNIGHT_MS - 1, -1, MIDNIGHT_MS])
    told: list[str] = []
    assert next(ticks(Every("6h"), clock, sleep=clock.sleep, notify=told.append)) == MIDNIGHT_MS
    assert told == ["no broker; asked again"] * 2


def test_the_walls_clock_is_not_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    now_s = MIDNIGHT_MS / 1000 + 1

    def sleep(seconds: float) -> None:
        nonlocal now_s
        waited.append(seconds)
        now_s += seconds

    monkeypatch.setattr(time, "time", lambda: now_s)
    clock: Clock = WallClock()
    assert next(ticks(Every("2m"), clock, sleep=sleep)) == MIDNIGHT_MS + 120_000
    assert waited == [60, 59]
