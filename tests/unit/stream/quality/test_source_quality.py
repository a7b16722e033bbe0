from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from model.networks.fused.source_arrays import SOURCES
from model.networks.fused.source_lists import NO_DATA
from stream.quality.cells import VERSIONS
from stream.quality.metrics import QualityCollector
from stream.quality.observed_event import ObservedEvent
from stream.quality.prequential import Prequential
from stream.quality.source_quality import SourceQuality, SourceSums
from stream.quality.sums import QualitySums

NAMES = list(SOURCES)


def ranks(**by_source: int) -> bytes:
    given = {name.replace("_", " "): rank for name, rank in by_source.items()}
    return bytes(given.get(name, 0) % 256 for name in NAMES)


def event(rank: int, source_ranks: bytes, **changes: Any) -> ObservedEvent:
    made = ObservedEvent(0, 1_000, 1_000, "s", "i", True, 1, "v1", rank, 0, (), False, source_ranks)
    return msgspec.structs.replace(made, **changes)


def scored(events: list[ObservedEvent]) -> Prequential:
    prequential = Prequential(1000, 0.99)
    prequential.add(events)
    return prequential


def test_sources_are_counted_on_the_events_on_which_the_list_and_pop_are() -> None:
    prequential = scored(
        [
            event(2, ranks(network=1, own_items=20)),
            event(0, ranks(network=4)),
            # No list was shown before it, so nothing was predicted.
            event(0, ranks(network=1), position=0),
            # POP's list was shown, or another version's: what the sources had is unknown.
            event(1, b""),
        ]
    )
    found = prequential.by_source()["new"]["v1"]
    assert found["list"].events == found["network"].events == found["near items"].events == 2
    assert (found["list"].recall, found["list"].mrr) == (0.5, 0.25)
    assert (found["network"].recall, found["network"].mrr) == (1, 0.625)
    assert found["own items"].recall == 0.5
    assert found["own items"].mrr == pytest.approx(0.025)
    assert found["near items"] == SourceSums(2, 0, 0)


def test_a_source_without_data_is_absent_and_not_zero() -> None:
    events = [event(1, ranks(network=1, next_items=NO_DATA))] * 3
    assert "next items" not in scored(events).by_source()["new"]["v1"]
    # Data that came later count from then on.
    found = scored([*events, event(1, ranks(next_items=2))]).by_source()["new"]["v1"]
    assert (found["next items"].events, found["next items"].mrr, found["network"].events) == (1, 0.5, 4)


def test_events_that_the_version_has_learned_are_apart_and_versions_too() -> None:
    prequential = scored(
        [
            event(1, ranks(network=1), learned=True),
            event(1, ranks(network=2)),
            event(1, ranks(), version="v2"),
        ]
    )
    found = prequential.by_source()
    assert found["in_sample"]["v1"]["network"].mrr == 1
    assert found["new"]["v1"]["network"].mrr == 0.5
    assert found["new"]["v2"]["network"].recall == 0
    registry = CollectorRegistry()
    registry.register(QualityCollector(prequential))
    of_network = {"source": "network", "version": "v1"}
    assert registry.get_sample_value("nextclick_source_events_total", of_network) == 1
    assert registry.get_sample_value("nextclick_source_reciprocal_ranks_total", of_network) == 0.5
    assert registry.get_sample_value("nextclick_in_sample_source_hits_total", of_network) == 1
    assert registry.get_sample_value("nextclick_source_events_total", {**of_network, "version": "v3"}) is None


def test_only_the_newest_versions_are_kept() -> None:
    quality = SourceQuality()
    for number in [*range(1, 8), 1]:
        quality.add(f"v{number}", False, 1, ranks(network=1))
    assert list(quality.sums()["new"]) == [f"v{number}" for number in range(8 - VERSIONS, 8)]


def test_the_sums_of_two_workers_are_added_and_travel_as_json() -> None:
    one = scored([event(1, ranks(network=1)), event(1, ranks(), version="v2")]).sums()
    other = scored([event(0, ranks(network=2))]).sums()
    both = QualitySums.from_json(one.merged(other).to_json())
    assert both.sources["new"]["v1"]["network"].events == 2
    assert both.sources["new"]["v1"]["network"].mrr == 0.75
    assert both.sources["new"]["v2"]["list"].recall == 1
    assert QualitySums.from_json(both.to_json()).sources == both.sources
