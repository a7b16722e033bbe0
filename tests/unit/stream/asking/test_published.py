"""A published placement is what asking for it right after the event answers, for every list and no other."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.asking.published import PublishedPlacements
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.rules import Rules
from stream.events import FORGET, Event
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.load_shedding import POPULAR
from stream.wave.serving_model import ModelSlot
from stream.wave.waves import Arrival, Wave
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.unit.stream.asking.asked import AskedWorker, events_with_unknown_items, ids
from tests.unit.stream.wave.test_processor import step_wave

ITEMS = 60
LOG = markov_shoppers(sessions=40, items=ITEMS, seed=1)
WORDS = {f"i{n}": ItemWord(brand=f"b{n % 6}", category="garden" if n % 3 else "mugs") for n in range(ITEMS)}
RULES = """
[session]
seen = true
[placement.basket]
published = true
length = 6
never.brands = ["b1"]
cap = [{ per = "brand", most = 2 }]
[placement.garden]
published = true
category = "garden"
length = 30
[placement.near]
published = true
source = "similar"
length = 5
[placement.home]
length = 8
"""
PUBLISHED = ["basket", "garden", "near"]
MakeWorker = Callable[..., AskedWorker]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Folder, and version by network."""
    folder = tmp_path_factory.mktemp("registry")
    registry = Registry(folder)
    return folder, {n: train_small(LOG, registry, network=n).version for n in ("gru4rec", "transitions")}


@pytest.fixture
def make(versions: tuple[Path, dict[str, str]], tmp_path: Path) -> Iterator[MakeWorker]:
    made: list[AskedWorker] = []

    def make_one(network: str, rules: str) -> AskedWorker:
        catalogue = Catalogue()
        catalogue.apply(WORDS.items(), "0-59")
        catalogue.set_rules(Rules.parse(rules, "v"))
        settings = Settings(registry_dir=versions[0], wave_size=8, deterministic=True)
        live = ModelSlot(settings, catalogue)
        live.offer(live.prepare(versions[1][network]))
        made.append(AskedWorker(live, tmp_path / f"state-{len(made)}"))
        return made[-1]

    yield make_one
    for worker in made:
        worker.store.close()


@pytest.mark.parametrize("network", ["gru4rec", "transitions"])
def test_every_list_has_its_placements_beside_it_and_each_is_what_is_asked_for_byte_for_byte(
    make: MakeWorker, network: str
) -> None:
    worker, plain = make(network, RULES), make(network, "[session]\nseen = true")
    events = events_with_unknown_items(LOG, 64)
    fallbacks = set[str]()
    for stepped, without in zip(worker.waves(events), plain.waves(events), strict=True):
        assert without.placed == [] and stepped.unplaced == 0
        assert [one.items for one in stepped.lists] == [one.items for one in without.lists]
        due = [(shown.session_id, name) for shown in stepped.lists for name in PUBLISHED]
        assert [(placed.shown.session_id, placed.placement) for placed in stepped.placed] == due
        of_event = {shown.session_id: shown for shown in stepped.lists}
        for placed in stepped.placed:
            shown, own = placed.shown, of_event[placed.shown.session_id]
            body = worker.ask(shown.session_id, ("placement", placed.placement))
            assert ids(body) == shown.items and shown.items
            scores = np.array([row["score"] for row in body["items"]], np.float32)
            assert scores.tobytes() == shown.scores.tobytes()
            assert (body["fallback"] or "", body["model_version"]) == (shown.fallback, shown.model_version)
            assert (shown.position, shown.arrival.offset) == (own.position, own.arrival.offset)
            assert placed.rules == "v"
            fallbacks.add(shown.fallback)
    assert fallbacks == {"", "empty_session"}


def test_a_forgotten_session_s_placements_are_emptied_and_a_worker_behind_publishes_popular_ones(
    make: MakeWorker,
) -> None:
    worker = make("gru4rec", RULES)
    event = next(iter(events_of(LOG.frame)))
    first = worker.step(0, event)
    assert [placed.placement for placed in first.placed] == PUBLISHED
    forgotten = worker.step(1, Event(event.session_id, event.event_time_ms + 1, "", FORGET))
    assert [(placed.placement, placed.shown.items) for placed in forgotten.placed] == [
        (name, []) for name in PUBLISHED
    ]
    assert {placed.shown.fallback for placed in forgotten.placed} == {"forget"}
    # At its highest level of load shedding no placement is made from the state.
    arrivals = [Arrival(0, n + 2, Event(f"s{n}", 5_000, "i4"), NO_WATERMARK, 0) for n in range(2)]
    arrivals[1].superseded = True
    for arrival in arrivals:
        worker.partition.pending.add(arrival.offset, NO_WATERMARK, NO_WATERMARK)
    stepped = step_wave(worker.processor, Wave(arrivals, {0}, level=POPULAR))
    assert [placed.shown.session_id for placed in stepped.placed] == ["s0"] * 3
    assert {placed.shown.fallback for placed in stepped.placed} == {"lag"}
    popular = [shown.items for shown in stepped.lists]
    assert len(popular) == 1 and all(placed.shown.items for placed in stepped.placed)


def test_a_placement_in_whose_category_no_item_is_known_is_left_out_counted_and_said_once(
    make: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    worker = make("gru4rec", '[placement.toys]\npublished = true\ncategory = "toys"')
    with caplog.at_level(logging.WARNING):
        waves = list(worker.waves(list(events_of(LOG.frame))[:30]))
    lists = sum(len(stepped.lists) for stepped in waves)
    assert sum(stepped.unplaced for stepped in waves) == lists == 30
    assert not any(stepped.placed for stepped in waves)
    assert caplog.text.count("placement toys: no item is known to be in toys") == 1


def test_two_step_threads_make_placements_at_the_same_time_and_each_as_if_it_were_alone(
    versions: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    together, is_together = threading.Barrier(2), threading.Event()

    def meet_and_tell_time() -> int:
        if is_together.is_set():
            # Every list asks for the time: both threads are between the beginning and the end of one.
            together.wait(60)
        return time.time_ns() // 1_000_000

    catalogue = Catalogue(meet_and_tell_time)
    catalogue.apply(WORDS.items(), "0-59")
    catalogue.set_rules(Rules.parse(RULES, "v"))
    live = ModelSlot(Settings(registry_dir=versions[0], wave_size=8, deterministic=True), catalogue)
    live.offer(live.prepare(versions[1]["gru4rec"]))
    placements = PublishedPlacements(catalogue, 50)
    workers = [AskedWorker(live, tmp_path / f"lane-{n}", placements) for n in range(3)]
    events = list(events_of(LOG.frame))[:24]

    def placed_by(worker: AskedWorker) -> list[tuple[str, list[str]]]:
        waves = list(worker.waves(events))
        return [(one.placement, one.shown.items) for stepped in waves for one in stepped.placed]

    alone = placed_by(workers[0])
    is_together.set()
    with ThreadPoolExecutor(2) as lanes:
        assert list(lanes.map(placed_by, workers[1:])) == [alone, alone]
    assert len(alone) == 24 * len(PUBLISHED)
    for worker in workers:
        worker.store.close()
