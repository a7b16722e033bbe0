import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from model.data.event_filter import EventFilter
from model.data.learned_events import LearnedEvents
from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.events import EMPTY_SESSION, LAG, UNKNOWN_ITEM, Event
from stream.sessions.partition import OpenPartition
from stream.sessions.session_state import SessionState
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.load_shedding import FULL, NEWEST_ONLY, POPULAR
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot
from stream.wave.stepped_wave import RecommendedList, SteppedWave
from stream.wave.waves import Arrival, Wave, WaveCutter
from stream.worker.lanes import Lanes
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers

LOG = markov_shoppers(sessions=120, items=60, seed=1)
MakeRun = Callable[[Callable[[int], int]], tuple[dict[int, RecommendedList], dict[str, SessionState]]]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> ModelSlot:
    settings = Settings(registry_dir=tmp_path_factory.mktemp("registry"), wave_size=8, deterministic=True)
    train_small(LOG, Registry(settings.registry_dir))
    live = ModelSlot(settings)
    live.offer(live.prepare())
    return live


@pytest.fixture
def run(live: ModelSlot, tmp_path: Path) -> Iterator[MakeRun]:
    """Steps the log at the level of each wave; → lists by offset, states by session."""
    stores: list[SessionStore] = []

    def make(level_of: Callable[[int], int]) -> tuple[dict[int, RecommendedList], dict[str, SessionState]]:
        stores.append(SessionStore(tmp_path / f"p{len(stores)}"))
        processor = Processor(live, recent_items=50)
        processor.partitions[0] = partition = OpenPartition(0, stores[-1])
        cutter = WaveCutter(8)
        watermark = NO_WATERMARK
        frame = LOG.frame.copy()
        frame.loc[frame.index % 11 == 5, "item_id"] = "never-seen"
        events = list(events_of(frame))
        lists: dict[int, RecommendedList] = {}
        place = wave_number = 0
        while place < len(events) or len(cutter):
            for event in events[place : place + 60 - len(cutter)]:
                arrival = Arrival(0, place, event, watermark, 0)
                watermark = watermark.after(event.session_id, event.event_time_ms)
                cutter.add(arrival)
                partition.pending.add(place, arrival.watermark, watermark)
                place += 1
            wave = cutter.cut()
            assert wave is not None
            wave.level = level_of(wave_number)
            wave_number += 1
            stepped = step_wave(processor, wave)
            lists.update({shown.arrival.offset: shown for shown in stepped.lists})
            assert len(stepped.lists) + stepped.unlisted == stepped.size
        ids = sorted({event.session_id for event in events})
        states = {i: s for i, s in zip(ids, partition.load(ids), strict=True) if s is not None}
        return lists, states

    yield make
    for store in stores:
        store.close()


def test_the_hidden_states_are_the_same_at_every_level(run: MakeRun) -> None:
    _, full = run(lambda wave: FULL)
    for level in (NEWEST_ONLY, POPULAR):
        _, states = run(lambda wave, level=level: level)  # type: ignore[misc]
        assert states.keys() == full.keys()
        for session_id, state in states.items():
            assert state.hidden == full[session_id].hidden
            assert state.recent_items == full[session_id].recent_items
            assert state.position == full[session_id].position


def test_the_newest_event_of_a_session_gets_the_list_that_it_gets_without_lag(run: MakeRun) -> None:
    full, _ = run(lambda wave: FULL)
    some, _ = run(lambda wave: NEWEST_ONLY if wave % 3 else FULL)
    assert len(full) == len(LOG.frame)
    assert 0 < len(some) < len(full)
    for offset, shown in some.items():
        assert shown.items == full[offset].items, offset
        assert shown.scores.tobytes() == full[offset].scores.tobytes()
        assert shown.fallback == full[offset].fallback
    assert {shown.fallback for shown in some.values()} == {"", UNKNOWN_ITEM, EMPTY_SESSION}


def test_beyond_the_second_budget_lists_are_popular_and_afterwards_the_sessions_own(run: MakeRun) -> None:
    full, _ = run(lambda wave: FULL)
    some, _ = run(lambda wave: POPULAR if wave < 20 else FULL)
    popular = {offset: shown for offset, shown in some.items() if shown.fallback == LAG}
    assert popular
    assert len({tuple(shown.items) for shown in popular.values()}) == 1
    own = some.keys() - popular.keys()
    assert len(own) > 100
    for offset in own:
        assert some[offset].items == full[offset].items, offset
        assert some[offset].fallback == full[offset].fallback


def step_wave(processor: Processor, wave: Wave) -> SteppedWave:
    """Step a wave and write what it leaves."""
    handed: list[SteppedWave] = []
    processor.process(wave, handed.append)
    write(processor, handed)
    return handed[0]


def write(processor: Processor, handed: list[SteppedWave]) -> None:
    """Write waves in the order in which they were handed over."""
    for stepped in handed:
        for written, batch, applied in stepped.writes.values():
            written.write(batch, applied)
        processor.written = stepped.number


def step_all(processor: Processor, events: list[Event], first_offset: int) -> list[SteppedWave]:
    """Step events in order, wave by wave; → the waves."""
    cutter = WaveCutter(8)
    for offset, event in enumerate(events, first_offset):
        arrival = Arrival(0, offset, event, NO_WATERMARK, 0)
        cutter.add(arrival)
        processor.partitions[0].pending.add(offset, NO_WATERMARK, NO_WATERMARK)
    waves: list[SteppedWave] = []
    while (wave := cutter.cut()) is not None:
        waves.append(step_wave(processor, wave))
    return waves


def test_a_rebuilt_session_is_exact_up_to_fifty_events_and_beyond_it_is_counted(
    live: ModelSlot, tmp_path: Path
) -> None:
    lengths = {"short": 3, "fifty": 50, "long": 80}
    start_ms = 1_700_000_000_000
    past = [
        Event(session_id, start_ms + 1_000 * n, f"i{7 * n % 60}")
        for n in range(80)
        for session_id, length in lengths.items()
        if n < length
    ]
    last = [Event(session_id, start_ms + 90_000, "i5") for session_id in lengths]
    shown: dict[bool, dict[str, RecommendedList]] = {}
    for lost in (False, True):
        store = SessionStore(tmp_path / f"lost-{lost}")
        processor = Processor(live, recent_items=50)
        processor.partitions[0] = partition = OpenPartition(0, store)
        step_all(processor, past, 0)
        if lost:
            # What recovery leaves: histories only.
            for session_id, state in zip(lengths, partition.load(list(lengths)), strict=True):
                assert state is not None
                oldest = state.recent_offsets[0]
                state.model_version, state.hidden, state.list_items, state.list_scores = "", b"", [], b""
                partition.put(10_000, session_id, state, oldest)
        waves = step_all(processor, last, len(past))
        shown[lost] = {one.session_id: one for wave in waves for one in wave.lists}
        assert [wave.rebuilt for wave in waves] == [3 * lost]
        # Of a session that has all that is kept, nobody knows whether it had more.
        assert [wave.rebuilt_inexact for wave in waves] == [2 * lost]
        store.close()
    for session_id in ("short", "fifty"):
        assert shown[True][session_id].items == shown[False][session_id].items
        assert shown[True][session_id].scores.tobytes() == shown[False][session_id].scores.tobytes()
    assert len(set(shown[True]["long"].items) & set(shown[False]["long"].items)) >= 18


def test_step_threads_side_by_side_leave_what_one_alone_leaves(live: ModelSlot, tmp_path: Path) -> None:
    events = list(events_of(LOG.frame))
    last = events[-1]
    ends = [Event(event.session_id, last.event_time_ms, "", "session_end") for event in events[-40::20]]
    left = []
    for threads in (1, 3):
        store = SessionStore(tmp_path / f"threads-{threads}")
        processor = Processor(live, recent_items=50)
        processor.partitions[0] = partition = OpenPartition(0, store)
        lanes = Lanes(threads, 8)
        watermark = NO_WATERMARK
        for offset, event in enumerate(events + ends):
            arrival = Arrival(0, offset, event, watermark, 0)
            watermark = watermark.after(event.session_id, event.event_time_ms)
            partition.pending.add(offset, arrival.watermark, watermark)
            lanes.add(arrival)
        handed: list[SteppedWave] = []

        def hand_over(stepped: SteppedWave) -> None:
            handed.append(stepped)  # noqa: B023
            write(processor, [stepped])  # noqa: B023

        def step(lane: int) -> None:
            while waves := lanes.cut(lane, 1):  # noqa: B023
                processor.process(waves[0], hand_over)  # noqa: B023

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(step, range(threads)))
        # How far the frontier comes with each wave is the threads' affair; what it leaves in the end is not.
        processor.process(Wave([], {0}), hand_over)
        numbers = [stepped.number for stepped in handed]
        assert numbers == list(range(len(handed)))
        all_applied = [stepped.writes[0][2] for stepped in handed]
        assert [f.position for f in all_applied] == sorted(f.position for f in all_applied)
        done: set[int] = set()
        for stepped, applied in zip(handed, all_applied, strict=True):
            done |= {shown.arrival.offset for shown in stepped.lists}
            in_states = set(range(applied.top)) - set(applied.pending)
            # Those that ended have no list.
            assert {o for o in in_states if o < len(events)} == done
        ids = sorted({event.session_id for event in events})
        lists = {s.arrival.offset: (s.items, s.scores.tobytes()) for w in handed for s in w.lists}
        expired = sum(stepped.expired for stepped in handed)
        assert partition.sessions == sum(state is not None for state in partition.load(ids))
        left.append((lists, partition.position, partition.watermark, partition.sessions))
        assert expired
        store.close()
    assert left[0] == left[1]


def test_a_new_version_serves_when_no_wave_of_the_old_one_is_under_way(
    live: ModelSlot, tmp_path: Path
) -> None:
    old = live.current
    new = replace(old, version="the-next-one")
    store = SessionStore(tmp_path / "swap")
    processor = Processor(live, recent_items=50)
    processor.partitions[0] = partition = OpenPartition(0, store)
    lanes = Lanes(2, 4)
    for offset, event in enumerate(events_of(LOG.frame)):
        arrival = Arrival(0, offset, event, NO_WATERMARK, 0)
        partition.pending.add(offset, NO_WATERMARK, NO_WATERMARK)
        lanes.add(arrival)
    handed: list[SteppedWave] = []

    def hand_over(stepped: SteppedWave) -> None:
        handed.append(stepped)
        if len(handed) == 9:
            live.offer(new)

    def step(lane: int) -> None:
        while waves := lanes.cut(lane, 1):
            processor.process(waves[0], hand_over)

    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(step, range(2)))
    finally:
        live.offer(old)
    versions = [shown.model_version for stepped in handed for shown in stepped.lists]
    assert set(versions) == {old.version, new.version}
    assert sum(a != b for a, b in pairwise(versions)) == 1
    store.close()


def test_a_worker_says_which_events_its_version_was_made_for_and_counts_those_of_other_kinds(
    live: ModelSlot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It steps them all the same: a list comes after every event."""
    before = live.current
    live.offer(replace(before, trained_on=EventFilter(kinds=("purchase",))))
    with closing(SessionStore(tmp_path / "kinds")) as store:
        processor = Processor(live, recent_items=50)
        processor.partitions[0] = OpenPartition(0, store)
        cutter = WaveCutter(8)
        for offset, kind in enumerate(("view", "purchase", "cart")):
            event = Event(f"s{offset}", 1_700_000_000_000 + offset, "i1", kind)  # type: ignore[arg-type]
            cutter.add(Arrival(0, offset, event, NO_WATERMARK, 0))
            processor.partitions[0].pending.add(offset, NO_WATERMARK, NO_WATERMARK)
        wave = cutter.cut()
        assert wave is not None
        stepped = step_wave(processor, wave)
    live.offer(before)
    assert (stepped.other_kinds, len(stepped.lists)) == (2, 3)
    said = [text for text in map(logging.LogRecord.getMessage, caplog.records) if "was trained on" in text]
    assert len(said) == 1
    assert "of kind purchase only; this worker steps the events of every kind" in said[0]


def test_an_event_that_the_version_has_learned_from_is_observed_as_learned(
    live: ModelSlot, tmp_path: Path
) -> None:
    before, begin_ms = live.current, 1_700_000_000_000
    live.offer(replace(before, learned=LearnedEvents(until_ms=begin_ms + 1)))
    with closing(SessionStore(tmp_path / "learned")) as store:
        processor = Processor(live, recent_items=50)
        processor.partitions[0] = OpenPartition(0, store)
        cutter = WaveCutter(8)
        for offset in range(4):
            event = Event(f"s{offset}", begin_ms + offset, "i1")
            cutter.add(Arrival(0, offset, event, NO_WATERMARK, 0))
            processor.partitions[0].pending.add(offset, NO_WATERMARK, NO_WATERMARK)
        wave = cutter.cut()
        assert wave is not None
        stepped = step_wave(processor, wave)
    live.offer(before)
    assert [observed.learned for observed in stepped.observed] == [True, True, False, False]


def test_offsets_that_were_learned_in_a_topic_before_it_was_made_anew_are_not_learned(
    live: ModelSlot,
) -> None:
    before = live.current
    learned = LearnedEvents(until_ms=0, newest_ms=5_000, offsets={0: (0, 10)}, topic_id="first")
    live.offer(replace(before, learned=learned))
    assert live.has_learned(before.version, 0, 3, 5_000)
    live.topic_id = "second"
    assert not live.has_learned(before.version, 0, 3, 5_000)
    live.topic_id = "first"
    assert live.has_learned(before.version, 0, 3, 5_000)
    live.offer(before)
    live.topic_id = ""
