import json

import pytest

from replay.commands.quality import NAMES, points_of, quality
from stream.quality.observed_event import ObservedEvent
from stream.quality.prequential import Prequential
from tests.harness.quality_view import START_MS, quality_view, scored

HOUR_MS = 3_600_000


def test_a_worker_that_is_named_twice_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    with quality_view(scored(START_MS, 100)) as address:
        quality(worker=[address, f"{address}/", address], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["workers"] == 1
    assert found["windows"]["total"]["all"]["all"]["champion"]["events"] == 100


def test_points_cover_the_whole_time_and_leave_gaps_where_nothing_was_scored() -> None:
    prequential = scored(START_MS, 60)
    night_ms = START_MS + 10 * HOUR_MS
    for n in range(120):
        now_ms = night_ms + 60_000 * n
        prequential.add([ObservedEvent(0, now_ms, now_ms, f"s{n}", "i", True, 1, "v", 0, 0, ())])
    points = points_of(prequential.sums(), most=12)
    assert len(points) == 12
    assert all(START_MS < middle_ms < night_ms + 2 * HOUR_MS for middle_ms in points)
    recalls = [systems[NAMES["champion"]].mean if systems else None for systems in points.values()]
    assert recalls == [1.0, *[None] * 9, 0.0, 0.0]
    assert points_of(Prequential(100, 0.9).sums()) == {}
