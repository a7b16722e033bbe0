from stream.worker.lanes import CALM_REVIEWS, REVIEW_S, WORTH_WAITING, LaneController

SIZE, WAIT_S = 64, 0.005


class Clocked:
    """A filling that is reviewed at each of its moments, after some waves of one size."""

    def __init__(self, lanes: int) -> None:
        self.filling = LaneController(lanes, SIZE, WAIT_S)
        self._now_s = 100.0
        self.filling.review(self._now_s, 0)

    def pass_by(self, reviews: int, waves: int, events: int, waiting: int = 0) -> int:
        """Let time pass for so many reviews, each after waves of so many events; → the lanes then."""
        for _ in range(reviews):
            self.filling.count_read(waves * events)
            for _ in range(waves):
                self.filling.count_wave(events)
            self._now_s += 1.01 * REVIEW_S
            self.filling.review(self._now_s, waiting)
        return self.filling.lanes


def test_an_idle_lane_waits_only_where_events_come_densely() -> None:
    rate = WORTH_WAITING / WAIT_S
    for share, wait_s in ((0.0, 0.0), (0.9, 0.0), (1.1, WAIT_S), (100, WAIT_S)):
        clocked = Clocked(2)
        clocked.pass_by(1, 1, int(share * rate * 1.01 * REVIEW_S))
        assert clocked.filling.wait_s == wait_s, share


def test_one_lane_takes_all_when_waves_have_had_room_for_long() -> None:
    clocked = Clocked(2)
    assert clocked.pass_by(CALM_REVIEWS - 1, 10, SIZE // 4) == 2
    # One busy moment, and the time begins anew.
    assert clocked.pass_by(1, 10, SIZE) == 2
    assert clocked.pass_by(CALM_REVIEWS - 1, 10, SIZE // 4) == 2
    assert clocked.pass_by(1, 10, SIZE // 4) == 1
    assert Clocked(2).pass_by(10 * CALM_REVIEWS, 10, SIZE // 4 + 1) == 2


def test_all_lanes_are_opened_as_soon_as_one_is_nearly_full_and_stay_open_for_a_while() -> None:
    clocked = Clocked(4)
    assert clocked.pass_by(CALM_REVIEWS, 0, 0) == 1
    assert clocked.pass_by(100, 10, SIZE // 2) == 1
    assert clocked.pass_by(1, 10, SIZE - 1) == 4
    assert clocked.pass_by(CALM_REVIEWS - 1, 1, 1) == 4


def test_what_waits_is_no_calm_though_no_wave_is_cut() -> None:
    # A broker that answers nobody, a model that is changed: nothing is stepped, and much is there.
    assert Clocked(2).pass_by(10 * CALM_REVIEWS, 0, 0, waiting=SIZE) == 2
    # A few sessions with many events each never fill a wave.
    clocked = Clocked(2)
    assert clocked.pass_by(CALM_REVIEWS, 0, 0) == 1
    assert clocked.pass_by(1, 10, 5, waiting=SIZE) == 1
    assert clocked.pass_by(1, 10, 5, waiting=4 * SIZE) == 2


def test_nothing_is_decided_before_it_is_time() -> None:
    filling = LaneController(2, SIZE, WAIT_S)
    for now_s in (0.0, 0.0, 0.1 * REVIEW_S):
        filling.count_read(1_000_000)
        filling.review(now_s, 0)
        assert filling.wait_s == 0.0
    filling.review(REVIEW_S, 0)
    assert filling.wait_s == WAIT_S


def test_a_single_step_thread_has_one_lane_whatever_comes() -> None:
    clocked = Clocked(1)
    assert {clocked.pass_by(1, 3, events) for events in (0, 1, SIZE, SIZE, 0)} == {1}
