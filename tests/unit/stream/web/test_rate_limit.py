from hypothesis import given
from hypothesis import strategies as st

from stream.web.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_client_takes_a_burst_then_waits_for_its_rate() -> None:
    clock = Clock()
    limit = RateLimit(2, 3, clock_s=clock)
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait_s("b") == 0
    clock.now_s += 0.25
    assert limit.wait_s("a") == 0.25
    clock.now_s += 0.25
    assert [limit.wait_s("a"), limit.wait_s("a")] == [0, 0.5]


def test_a_long_silence_gives_no_more_than_the_burst() -> None:
    clock = Clock()
    limit = RateLimit(10, 3, clock_s=clock)
    limit.wait_s("a")
    clock.now_s += 3600
    assert [limit.wait_s("a") == 0 for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_takes_nothing_from_a_client() -> None:
    clock = Clock()
    limit = RateLimit(1, 2, clock_s=clock)
    limit.wait_s("a")
    clock.now_s -= 60
    assert limit.wait_s("a") == 0


def test_memory_is_bounded_and_the_one_that_was_silent_longest_is_forgotten() -> None:
    limit = RateLimit(1, 1, max_clients=2, clock_s=Clock())
    for client in ("a", "b", "a", "c"):
        limit.wait_s(client)
    assert len(limit) == 2
    assert limit.wait_s("a") > 0
    assert limit.wait_s("b") == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=60))
def test_no_client_ever_gets_more_than_its_burst_and_its_rate(asked: list[tuple[str, float]]) -> None:
    clock = Clock()
    limit = RateLimit(3, 4, clock_s=clock)
    granted: dict[str, int] = {}
    for client, pause_s in asked:
        clock.now_s += pause_s
        if not limit.wait_s(client):
            granted[client] = granted.get(client, 0) + 1
        assert granted.get(client, 0) <= 4 + 3 * (clock.now_s - 1000) + 1e-6
