"""Two versions serve: each session's lists are those of its side, and the same again after a crash."""

from collections import Counter
from pathlib import Path

import pytest

from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.rules import Rules
from stream.experiments.experiment import (
    CHALLENGER,
    CHAMPION,
    INTERLEAVE,
    INTERLEAVED,
    SPLIT,
    Experiment,
    Mode,
)
from stream.experiments.team_draft import coins_of, team_draft
from stream.sessions.partition import OpenPartition
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.load_shedding import POPULAR
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.wave.stepped_wave import RecommendedList
from stream.wave.waves import Arrival, WaveCutter
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.unit.stream.wave.test_processor import step_wave

LOG = markov_shoppers(sessions=60, items=40, seed=1)
FRAME = LOG.frame.copy()
FRAME.loc[FRAME.index % 13 == 5, "item_id"] = "never-seen"
EVENTS = list(events_of(FRAME))
Lists = dict[int, RecommendedList]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    # Another mask and other columns of the events: each side is as it was trained.
    train_small(LOG, Registry(folder), epochs=1)
    train_small(LOG, Registry(folder), seed=5, epochs=1, exclude_session_items=True)
    return folder


def of_two(
    registry: Path, catalogue: Catalogue | None = None
) -> tuple[ModelSlot, ServingModel, ServingModel]:
    live = ModelSlot(Settings(registry_dir=registry, wave_size=8, deterministic=True), catalogue)
    first, second = (live.prepare(version["version"]) for version in Registry(registry).versions())
    live.offer(first)
    return live, first, second


def experiment(live: ModelSlot, challenger: ServingModel, mode: Mode, share: float = 0.5) -> Experiment:
    one = Experiment("e1", live.current.version, challenger.version, share, mode)
    live.experiment(one, challenger)
    return one


class Log:
    """Steps the log wave by wave over a store that may be opened again."""

    def __init__(self, live: ModelSlot, folder: Path) -> None:
        self.live, self.folder = live, folder
        self.lists: Lists = {}
        self.quality: Counter[str] = Counter()

    def step(self, begin: int, end: int, level: int = 0) -> Lists:
        """Step events [begin, end) in a process of its own; → their lists by offset."""
        store = SessionStore(self.folder)
        processor = Processor(self.live, recent_items=50)
        processor.partitions[0] = partition = OpenPartition(0, store)
        cutter, lists = WaveCutter(8), {}
        watermark = NO_WATERMARK
        for offset, event in enumerate(EVENTS[:end]):
            arrival = Arrival(0, offset, event, watermark, 0)
            watermark = watermark.after(event.session_id, event.event_time_ms)
            if offset < begin:
                continue
            cutter.add(arrival)
            partition.pending.add(offset, arrival.watermark, watermark)
            while len(cutter) >= 8 or (len(cutter) and offset == end - 1):
                wave = cutter.cut()
                assert wave is not None
                wave.level = level
                stepped = step_wave(processor, wave)
                lists.update({shown.arrival.offset: shown for shown in stepped.lists})
                self.quality.update(one.version for one in stepped.observed if one.position)
        store.close()
        self.lists.update(lists)
        return lists


def alone(registry: Path, folder: Path, which: int) -> Lists:
    live, *versions = of_two(registry)
    live.offer(versions[which])
    return Log(live, folder).step(0, len(EVENTS))


def equal(one: RecommendedList, other: RecommendedList) -> bool:
    return one.items == other.items and one.scores.tobytes() == other.scores.tobytes()


def test_each_session_is_served_by_its_side_as_if_that_version_served_alone(
    registry: Path, tmp_path: Path
) -> None:
    by_side = {CHAMPION: alone(registry, tmp_path / "a", 0), CHALLENGER: alone(registry, tmp_path / "b", 1)}
    live, _, second = of_two(registry)
    one = experiment(live, second, SPLIT)
    log = Log(live, tmp_path / "split")
    lists = log.step(0, len(EVENTS))
    assert len(lists) == len(EVENTS)
    for offset, shown in lists.items():
        side = one.side_of(EVENTS[offset].session_id)
        assert shown.side == side
        assert dict(shown.headers) == {"experiment": b"e1", "side": side.encode(), "propensity": b"0.5"}
        assert equal(shown, by_side[side][offset]), offset
    assert {shown.side for shown in lists.values()} == {CHAMPION, CHALLENGER}
    # Quality is told apart by the version that made the list.
    assert set(log.quality) == {one.champion, one.challenger}


@pytest.mark.parametrize("mode", [SPLIT, INTERLEAVE])
def test_an_event_gets_the_same_list_after_a_crash(registry: Path, tmp_path: Path, mode: Mode) -> None:
    live, _, second = of_two(registry)
    experiment(live, second, mode, 0.7)
    whole = Log(live, tmp_path / "whole").step(0, len(EVENTS))
    # Another process, which has loaded the versions anew, and reads the experiment before it steps.
    again = Log(live, tmp_path / "again")
    again.step(0, len(EVENTS) // 2)
    again.live, _, second = of_two(registry)
    experiment(again.live, second, mode, 0.7)
    again.step(len(EVENTS) // 2, len(EVENTS))
    assert again.lists.keys() == whole.keys()
    for offset, shown in whole.items():
        assert equal(again.lists[offset], shown), offset
        assert (again.lists[offset].side, again.lists[offset].headers) == (shown.side, shown.headers)


def test_interleaved_lists_are_drafted_from_both_and_the_other_sessions_are_left_alone(
    registry: Path, tmp_path: Path
) -> None:
    champion, challenger = alone(registry, tmp_path / "a", 0), alone(registry, tmp_path / "b", 1)
    live, _, second = of_two(registry)
    one = experiment(live, second, INTERLEAVE)
    lists = Log(live, tmp_path / "both").step(0, len(EVENTS))
    sides = Counter(shown.side for shown in lists.values())
    assert set(sides) == {INTERLEAVED, ""}
    for offset, shown in lists.items():
        if shown.side:
            coins = coins_of("e1", f"0-{offset}")
            items, owners = team_draft(champion[offset].items, challenger[offset].items, 20, coins)
            assert shown.items == items, offset
            assert dict(shown.headers)["owners"] == owners.encode()
            assert len(shown.scores) == len(items)
        else:
            assert equal(shown, champion[offset])
            assert not shown.headers
        assert shown.model_version == one.champion


def test_an_experiment_may_begin_and_end_in_the_middle_of_sessions(registry: Path, tmp_path: Path) -> None:
    """A session takes up its side from its recent items, as after a hot swap."""
    expected = alone(registry, tmp_path / "b", 1)
    champion = alone(registry, tmp_path / "a", 0)
    third = len(EVENTS) // 3
    for mode in (SPLIT, INTERLEAVE):
        live, first, second = of_two(registry)
        log = Log(live, tmp_path / mode)
        log.step(0, third)
        experiment(live, second, mode)
        log.step(third, 2 * third)
        live.experiment(None)
        log.step(2 * third, len(EVENTS))
        for offset, shown in log.lists.items():
            if shown.side == CHALLENGER and shown.model_version == second.version:
                assert equal(shown, expected[offset]), offset
            elif not shown.side and shown.model_version == first.version and not shown.fallback:
                assert shown.items == champion[offset].items, offset
        assert {shown.side for offset, shown in log.lists.items() if offset >= 2 * third} == {""}


def test_a_list_of_no_challenger_is_of_no_side_while_the_worker_catches_up(
    registry: Path, tmp_path: Path
) -> None:
    live, _, second = of_two(registry)
    experiment(live, second, INTERLEAVE)
    log = Log(live, tmp_path / "lag")
    lists = log.step(0, 40, level=POPULAR)
    assert lists
    assert {shown.side for shown in lists.values()} == {""}
    # Afterwards the challenger's states are rebuilt, and lists are drafted again.
    assert INTERLEAVED in {shown.side for shown in log.step(40, 120).values()}


@pytest.mark.parametrize("mode", [SPLIT, INTERLEAVE])
def test_no_side_lists_what_may_not_be_listed(registry: Path, tmp_path: Path, mode: Mode) -> None:
    catalogue = Catalogue()
    live, _, second = of_two(registry, catalogue)
    experiment(live, second, mode)
    log = Log(live, tmp_path / "listable")
    before = log.step(0, 60)
    counts = Counter(item for shown in before.values() for item in shown.items)
    gone = {item for item, _ in counts.most_common(10)}
    catalogue.apply([(item, ItemWord(available=False)) for item in sorted(gone)], "0-9")
    after = log.step(60, len(EVENTS))
    assert {shown.side for shown in after.values()} >= {CHALLENGER if mode == SPLIT else INTERLEAVED}
    assert not gone & {item for shown in after.values() for item in shown.items}


def test_a_pinned_item_belongs_to_neither_team(registry: Path, tmp_path: Path) -> None:
    catalogue = Catalogue()
    live, first, second = of_two(registry, catalogue)
    experiment(live, second, INTERLEAVE, 0.9)
    # The best of all items: without the pin the teams would draft it.
    (best,) = first.listable.popular.ids[:1]
    rules = Rules.parse(f'[[pin]]\nitem = "{best}"\nplace = 3')
    catalogue.set_rules(rules.model_copy(update={"version": "r1"}))
    lists = Log(live, tmp_path / "pinned").step(0, len(EVENTS))
    drafted = [shown for shown in lists.values() if shown.side == INTERLEAVED]
    with_pin = [shown for shown in drafted if best in shown.items]
    assert len(with_pin) > 20
    for shown in drafted:
        owners = dict(shown.headers)["owners"].decode()
        assert len(owners) == len(shown.items)
        # No other place is a rule's, and both teams have theirs.
        assert [item for item, owner in zip(shown.items, owners, strict=True) if owner == "-"] == (
            [best] if best in shown.items else []
        )
        assert abs(owners.count("A") - owners.count("B")) <= 2
    assert {shown.items.index(best) for shown in with_pin} == {2}
