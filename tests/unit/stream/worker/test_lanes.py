import itertools

from stream.events import Event
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.waves import Arrival
from stream.worker.lanes import (
    CLOSE_LANES_AFTER_REVIEWS,
    REVIEW_S,
    WAVES_AT_ONCE,
    WORTH_WAITING,
    LaneController,
    WaveEmitter,
)
from tests.unit.stream.worker.fakes import IdlePipeline

SIZE, WAIT_S = 64, 0.005


class Clocked:
    """A controller that is reviewed at each of its moments, after some waves of one size."""

    def __init__(self, lanes: int) -> None:
        self.controller = LaneController(lanes, SIZE, WAIT_S)
        self._now_s = 100.0
        self.controller.review(self._now_s, 0)

    def pass_by(self, reviews: int, waves: int, events: int, waiting: int = 0) -> int:
        """Let time pass for some reviews, each after waves of some events; returns the lanes then."""
        for _ in range(reviews):
            self.controller.count_read(waves * events)
            for _ in range(waves):
                self.controller.count_wave(events)
            self._now_s += 1.01 * REVIEW_S
            self.controller.review(self._now_s, waiting)
        return self.controller.lanes


def test_an_idle_lane_waits_only_where_events_come_densely() -> None:
    rate = WORTH_WAITING / WAIT_S
    for share, wait_s in ((0.0, 0.0), (0.9, 0.0), (1.1, WAIT_S), (100, WAIT_S)):
        clocked = Clocked(2)
        clocked.pass_by(1, 1, int(share * rate * 1.01 * REVIEW_S))
        assert clocked.controller.wait_s == wait_s, share


def test_one_lane_takes_all_when_waves_have_had_room_for_long() -> None:
    clocked = Clocked(2)
    assert clocked.pass_by(CLOSE_LANES_AFTER_REVIEWS - 1, 10, SIZE // 4) == 2
    # One busy moment, and the time begins anew.
    assert clocked.pass_by(1, 10, SIZE) == 2
    assert clocked.pass_by(CLOSE_LANES_AFTER_REVIEWS - 1, 10, SIZE // 4) == 2
    assert clocked.pass_by(1, 10, SIZE // 4) == 1
    assert Clocked(2).pass_by(10 * CLOSE_LANES_AFTER_REVIEWS, 10, SIZE // 4 + 1) == 2


def test_all_lanes_are_opened_as_soon_as_one_is_nearly_full_and_stay_open_for_a_while() -> None:
    clocked = Clocked(4)
    assert clocked.pass_by(CLOSE_LANES_AFTER_REVIEWS, 0, 0) == 1
    assert clocked.pass_by(100, 10, SIZE // 2) == 1
    assert clocked.pass_by(1, 10, SIZE - 1) == 4
    assert clocked.pass_by(CLOSE_LANES_AFTER_REVIEWS - 1, 1, 1) == 4


def test_what_waits_is_no_calm_though_no_wave_is_cut() -> None:
    # A broker that answers nobody, a model that is changed: nothing is stepped, and much is there.
    assert Clocked(2).pass_by(10 * CLOSE_LANES_AFTER_REVIEWS, 0, 0, waiting=SIZE) == 2
    # A few sessions with many events each never fill a wave.
    clocked = Clocked(2)
    assert clocked.pass_by(CLOSE_LANES_AFTER_REVIEWS, 0, 0) == 1
    assert clocked.pass_by(1, 10, 5, waiting=SIZE) == 1
    assert clocked.pass_by(1, 10, 5, waiting=4 * SIZE) == 2


def test_nothing_is_decided_before_it_is_time() -> None:
    controller = LaneController(2, SIZE, WAIT_S)
    for now_s in (0.0, 0.0, 0.1 * REVIEW_S):
        controller.count_read(1_000_000)
        controller.review(now_s, 0)
        assert controller.wait_s == 0.0
    controller.review(REVIEW_S, 0)
    assert controller.wait_s == WAIT_S


def test_a_single_step_thread_has_one_lane_whatever_comes() -> None:
    clocked = Clocked(1)
    assert {clocked.pass_by(1, 3, events) for events in (0, 1, SIZE, SIZE, 0)} == {1}


def queue(emitter: WaveEmitter, offsets: range, sessions: int) -> None:
    for offset in offsets:
        event = Event(f"s{offset % sessions}", 1_700_000_000_000, "i")
        emitter.lanes.add(Arrival(0, offset, event, NO_WATERMARK, 0))


def test_a_lane_with_enough_to_step_holds_up_no_other() -> None:
    pipeline = IdlePipeline()
    emitter = WaveEmitter(Settings(step_threads=2), pipeline)
    pipeline.queued_waves = [2, 1]
    queue(emitter, range(1_500), sessions=1_500)
    waiting = len(emitter.lanes._cutters[0])
    assert waiting > 500
    emitter.emit()
    assert {wave.lane for wave in pipeline.emitted} == {1}
    assert len(pipeline.emitted) == WAVES_AT_ONCE
    assert len(emitter.lanes._cutters[0]) == waiting
    assert len(emitter.lanes) == 1_500 - WAVES_AT_ONCE * 64


def test_a_session_changes_its_lane_only_when_nothing_of_it_is_under_way() -> None:
    pipeline = IdlePipeline()
    emitter = WaveEmitter(Settings(step_threads=2), pipeline)
    emitter.fit_lanes(0.0)
    for turn, lanes in enumerate((2, 1, 1, 2, 2, 1)):
        emitter.controller.lanes = lanes
        emitter.fit_lanes(0.0)
        assert emitter.lanes.open == lanes
        queue(emitter, range(100 * turn, 100 * turn + 100), sessions=23)
        emitter.emit()
    emitter.finish()
    # At each of the three changes, and at the end, nothing waits.
    assert len(pipeline.durable_after) == 4
    assert len(emitter.lanes) == 0
    order: dict[str, list[tuple[int, int, int]]] = {}
    for place, wave in enumerate(pipeline.emitted):
        for arrival in wave.arrivals:
            assert arrival.event is not None
            order.setdefault(arrival.event.session_id, []).append((arrival.offset, wave.lane, place))
    assert sum(map(len, order.values())) == 600
    assert any(len({lane for _, lane, _ in events}) == 2 for events in order.values())
    for events in order.values():
        assert [offset for offset, _, _ in events] == sorted(offset for offset, _, _ in events)
        for (_, lane, place), (_, next_lane, next_place) in itertools.pairwise(events):
            assert lane == next_lane or any(place < at <= next_place for at in pipeline.durable_after)
