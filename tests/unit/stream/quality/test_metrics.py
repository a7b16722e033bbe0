import re
from collections import defaultdict

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from stream.quality.cells import KINDS, POSITIONS, SYSTEMS, VERSIONS
from stream.quality.item_age import AGES
from stream.quality.metrics import SHOWN_WINDOWS, QualityCollector
from stream.quality.observed_event import ObservedEvent
from stream.quality.prequential import Prequential

START_MS = 1_700_000_000_000


def exposed(prequential: Prequential) -> dict[tuple[str, str], float]:
    """The series as Prometheus would read them: (name, labels) → value."""
    registry = CollectorRegistry()
    registry.register(QualityCollector(prequential))
    lines = generate_latest(registry).decode().splitlines()
    found = [re.fullmatch(r"(\w+)(\{.*\})? (\S+)", line) for line in lines if not line.startswith("#")]
    return {(match[1], match[2] or ""): float(match[3]) for match in found if match}


def test_labels_are_bounded_whatever_the_data_hold_and_old_versions_leave() -> None:
    prequential = Prequential(1000, 0.99)
    for n in range(400):
        prequential.add(
            [
                ObservedEvent(
                    n % 3,
                    START_MS + n,
                    START_MS + n,
                    f"s{n}",
                    f"i{n}",
                    n % 2 == 0,
                    n,
                    f"v{n // 10:03}",
                    n % 21,
                    0,
                    (),
                )
            ]
        )
    series = exposed(prequential)
    values: defaultdict[str, set[str]] = defaultdict(set)
    for _, labels in series:
        for name, value in re.findall(r'(\w+)="([^"]*)"', labels):
            values[name].add(value)
    versions = {f"v{n:03}" for n in range(40 - VERSIONS, 40)}
    assert values["system"] == set(SYSTEMS)
    assert values["window"] == set(SHOWN_WINDOWS)
    assert values["slice"] == set(KINDS)
    assert values["value"] <= {"all", *POSITIONS, *AGES} | versions
    assert versions <= values["value"]
    assert len(series) < 2000


def test_the_means_are_those_of_the_sums_beside_them_and_lie_in_their_intervals() -> None:
    prequential = Prequential(100, 0.99)
    ranks = [1 + n % 4 if n % 3 else 0 for n in range(300)]
    for n, rank in enumerate(ranks):
        now_ms = START_MS + n
        prequential.add([ObservedEvent(0, now_ms, now_ms, f"s{n // 2}", "i", True, 1, "v", rank, 0, ())])
    series = exposed(prequential)
    assert series["nextclick_prequential_events_total", '{system="champion"}'] == 300
    assert series["nextclick_prequential_hits_total", '{system="champion"}'] == 200
    expected = sum(1 / rank for rank in ranks if rank)
    total = series["nextclick_prequential_reciprocal_ranks_total", '{system="champion"}']
    assert total == pytest.approx(expected)
    newest = ranks[-100:]
    assert series["nextclick_rolling_recall_at_20", '{system="champion"}'] == sum(map(bool, newest)) / 100
    labels = '{slice="all",system="champion",value="all",window="newest"}'
    assert series["nextclick_quality_events", labels] == 100
    assert series["nextclick_quality_hits", labels] == sum(map(bool, newest))
    for measure, sum_name in (("recall", "hits"), ("mrr", "reciprocal_ranks")):
        mean = series[f"nextclick_quality_{measure}_at_20", labels]
        assert mean == pytest.approx(series[f"nextclick_quality_{sum_name}", labels] / 100)
        low = series[f"nextclick_quality_{measure}_at_20_low", labels]
        assert 0 <= low < mean < series[f"nextclick_quality_{measure}_at_20_high", labels] <= 1


def test_before_the_first_event_the_counters_are_there_and_stand_at_zero() -> None:
    series = exposed(Prequential(100, 0.99))
    assert series["nextclick_prequential_events_total", '{system="window_pop"}'] == 0
    assert series["nextclick_rolling_mrr_at_20", '{system="pop"}'] == 0
    assert series["nextclick_quality_outside_events_total", ""] == 0


def test_events_that_the_version_has_learned_from_have_series_of_their_own() -> None:
    """A log that is replayed to its own model must not show the figure of what it knows by heart."""
    prequential = Prequential(1000, 0.99)
    for n in range(100):
        now_ms = START_MS + n
        learned = n < 60
        rank = 1 if learned else 0
        seen = ObservedEvent(0, now_ms, now_ms, f"s{n}", "i", True, 1, "v", rank, 0, (), learned)
        prequential.add([seen])
    series = exposed(prequential)
    champion = '{system="champion"}'
    assert series["nextclick_prequential_events_total", champion] == 40
    assert series["nextclick_prequential_hits_total", champion] == 0
    assert series["nextclick_rolling_recall_at_20", champion] == 0
    assert series["nextclick_in_sample_events_total", champion] == 60
    assert series["nextclick_in_sample_hits_total", champion] == 60
    labels = '{slice="in_sample",system="champion",value="all",window="newest"}'
    assert series["nextclick_quality_recall_at_20", labels] == 1
