"""No list of a wave has an item that was unlisted before the wave, whatever changes between waves."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.config import LIST_LENGTH
from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.rules import Rules
from stream.events import Event
from stream.sessions.partition import OpenPartition
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.load_shedding import FULL, NEWEST_ONLY, POPULAR
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot
from stream.wave.stepped_wave import SteppedWave
from stream.wave.waves import Arrival, WaveCutter
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.unit.stream.wave.test_processor import step_wave

ITEMS = 60
LOG = markov_shoppers(sessions=40, items=ITEMS, seed=1)
SOLD_OUT, BACK = ItemWord(available=False), ItemWord()
NETWORKS = ("gru4rec", "transitions")

WORDS = st.tuples(st.integers(0, ITEMS - 1), st.sampled_from([SOLD_OUT, SOLD_OUT, BACK, None]))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    for network in NETWORKS:
        train_small(LOG, Registry(folder), network=network, exclude_session_items=network == "gru4rec")
    return folder


def live_with(registry: Path, version: str, catalogue: Catalogue) -> ModelSlot:
    live = ModelSlot(Settings(registry_dir=registry, wave_size=8), catalogue)
    live.offer(live.prepare(version))
    return live


def versions(registry: Path) -> list[str]:
    return sorted(folder.name for folder in registry.iterdir() if (folder / "config.json").exists())


def events() -> list[Event]:
    frame = LOG.frame.copy()
    frame.loc[frame.index % 5 == 3, "item_id"] = "never-seen"
    return list(events_of(frame))[:96]


class Worker:
    """Steps the log wave by wave."""

    def __init__(self, live: ModelSlot, folder: Path) -> None:
        self.store = SessionStore(folder)
        self.processor = Processor(live, recent_items=50)
        self.processor.partitions[0] = self.partition = OpenPartition(0, self.store)
        self._events: Iterator[tuple[int, Event]] = enumerate(events())

    def waves(self, levels: list[int]) -> Iterator[SteppedWave]:
        cutter, watermark = WaveCutter(8), NO_WATERMARK
        for offset, event in self._events:
            arrival = Arrival(0, offset, event, watermark, 0)
            watermark = watermark.after(event.session_id, event.event_time_ms)
            cutter.add(arrival)
            self.partition.pending.add(offset, arrival.watermark, watermark)
            if len(cutter) >= 8 and (wave := cutter.cut()) is not None:
                wave.level = levels[offset % len(levels)]
                yield step_wave(self.processor, wave)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    changes=st.lists(
        st.lists(
            st.tuples(st.integers(0, ITEMS - 1), st.sampled_from([SOLD_OUT, SOLD_OUT, BACK, None])),
            max_size=30,
        ),
        min_size=1,
        max_size=8,
    ),
    levels=st.lists(st.sampled_from([FULL, NEWEST_ONLY, POPULAR]), min_size=1, max_size=3),
    network=st.integers(0, len(NETWORKS) - 1),
)
def test_no_list_has_an_item_that_was_unlisted_before_its_wave(
    changes: list[list[tuple[int, ItemWord | None]]],
    levels: list[int],
    network: int,
    registry: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    catalogue = Catalogue()
    live = live_with(registry, versions(registry)[network], catalogue)
    ids = live.current.vocabulary.item_ids.tolist()
    worker, unlisted = Worker(live, tmp_path_factory.mktemp("state")), set[str]()
    lists = 0
    for number, stepped in enumerate(worker.waves(levels)):
        for shown in stepped.lists:
            lists += 1
            assert not unlisted & set(shown.items)
            assert len(shown.items) == len(set(shown.items)) == len(shown.scores)
            if not stepped.item_words:
                continue
            own = live.current.recent_items if live.current.excludes_session_items else 0
            assert len(shown.items) >= min(LIST_LENGTH, len(ids) - len(unlisted) - own)
            assert (np.diff(shown.scores) <= 0).all()
        assert stepped.item_words == ("" if number == 0 else f"0-{number - 1}")
        words = [(ids[n % len(ids)], word) for n, word in changes[number % len(changes)]]
        for item, word in words:
            (unlisted.add if word is SOLD_OUT else unlisted.discard)(item)
        catalogue.apply(words, f"0-{number}")
    assert lists
    worker.store.close()


def test_a_version_that_is_loaded_later_obeys_what_was_said_before(registry: Path) -> None:
    catalogue = Catalogue()
    live = live_with(registry, versions(registry)[0], catalogue)
    popular = live.current.popular_list([])[0]
    catalogue.apply([(item, SOLD_OUT) for item in popular[:5]], "0-4")
    assert live.current.popular_list([])[0][:15] == popular[5:]
    later = live.prepare(versions(registry)[1])
    for serving in (live.current, later):
        items, _ = serving.popular_list([])
        assert not set(items) & set(popular[:5]) and len(items) == LIST_LENGTH
        assert serving.popular_rank(popular[0], []) is None
        assert serving.popular_rank(items[3], []) == 4
        step = serving.stepper.step({"item": np.array([1])}, serving.stepper.initial_rows(1))
        listed = serving.vocabulary.decode(step[0][0][step[0][0] >= 0])
        assert listed and not set(listed) & set(popular[:5])


def test_lists_without_a_word_about_any_item_are_the_very_same(registry: Path, tmp_path: Path) -> None:
    plain = Worker(live_with(registry, versions(registry)[0], Catalogue()), tmp_path / "a")
    catalogue = Catalogue()
    catalogue.apply([("of another shop", SOLD_OUT)], "0-0")
    told = Worker(live_with(registry, versions(registry)[0], catalogue), tmp_path / "b")
    for one, other in zip(plain.waves([FULL]), told.waves([FULL]), strict=True):
        for shown, expected in zip(one.lists, other.lists, strict=True):
            assert shown.items == expected.items
            assert shown.scores.tobytes() == expected.scores.tobytes()
    plain.store.close()
    told.store.close()


RULES = """
[session]
seen = false
[[cap]]
per = "brand"
most = 4
[[boost]]
category = "new"
up = 6
[[pin]]
item = "never heard of"
place = 2
[fallback]
items = ["i9"]
"""


def test_every_list_that_leaves_follows_the_rules(registry: Path, tmp_path: Path) -> None:
    catalogue = Catalogue()
    live = live_with(registry, versions(registry)[0], catalogue)
    words = {f"i{n}": ItemWord(brand=f"b{n % 6}", category="new" if n % 7 else "old") for n in range(ITEMS)}
    catalogue.apply(words.items(), "0-59")
    worker, lists, fallbacks = Worker(live, tmp_path / "state"), 0, set[str]()
    for number, stepped in enumerate(worker.waves([FULL, FULL, POPULAR])):
        for shown in stepped.lists:
            fallbacks.add(shown.fallback)
            assert len(shown.items) == len(set(shown.items)) == len(shown.scores) == LIST_LENGTH
            assert (np.diff(shown.scores) <= 0).all()
            if number < 3:
                continue
            lists += 1
            brands = [words[item].brand for item in shown.items if item in words]
            assert max(brands.count(brand) for brand in brands) <= 4
            assert shown.items[1] == "never heard of"
        if number == 2:
            catalogue.set_rules(Rules.parse(RULES, "v"))
    assert lists > 20 and fallbacks == {"", "unknown_item", "empty_session", "lag"}
    assert not live.current.excludes_session_items
    catalogue.set_rules(Rules.parse("[session]\nseen = true", "w"))
    assert live.current.excludes_session_items
    worker.store.close()


def test_boosted_items_come_up_by_places(registry: Path) -> None:
    catalogue = Catalogue()
    live = live_with(registry, versions(registry)[0], catalogue)
    before = live.current.popular_list([])[0]
    catalogue.set_rules(Rules.parse(f'[[boost]]\nitem = "{before[7]}"\nup = 5', "v"))
    assert live.current.popular_list([])[0] == [*before[:2], before[7], *before[2:7], *before[8:]]
    catalogue.set_rules(Rules.parse(f'[[boost]]\nitem = "{before[7]}"\nup = 50', "w"))
    assert live.current.popular_list([])[0][0] == before[7]


def test_what_is_named_as_a_fallback_fills_lists_before_popular_items(registry: Path) -> None:
    catalogue = Catalogue()
    live = live_with(registry, versions(registry)[1], catalogue)
    rare = live.current.vocabulary.decode(live.current.vocabulary.top(ITEMS))[-2:]
    catalogue.set_rules(Rules.parse(f"[fallback]\nitems = {rare}", "v"))
    scores = np.array([3.0, 2.0], np.float32)
    items, values = live.current.obeyed_list(["i1", "i2"], scores, [], is_new=True)
    assert items[:4] == ["i1", "i2", *rare] and len(items) == LIST_LENGTH
    assert values.tolist() == [3.0, *[2.0] * 19]
