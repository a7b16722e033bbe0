from stream.quality.observed_event import ObservedEvent
from stream.quality.prequential import Prequential
from stream.quality.report import recall_over_time
from tests.harness.quality_view import START_MS, scored

HOUR_MS = 3_600_000


def test_points_cover_the_whole_time_and_leave_gaps_where_nothing_was_scored() -> None:
    prequential = scored(START_MS, 60)
    night_ms = START_MS + 10 * HOUR_MS
    for n in range(120):
        now_ms = night_ms + 60_000 * n
        prequential.add([ObservedEvent(0, now_ms, now_ms, f"s{n}", "i", True, 1, "v", 0, 0, ())])
    points = recall_over_time(prequential.sums(), spans=12)
    assert len(points) == 12
    assert all(START_MS < middle_ms < night_ms + 2 * HOUR_MS for middle_ms in points)
    recalls = [systems["champion"].mean if systems else None for systems in points.values()]
    assert recalls == [1.0, *[None] * 9, 0.0, 0.0]
    assert recall_over_time(Prequential(100, 0.9).sums()) == {}
