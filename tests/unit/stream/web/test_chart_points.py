from model.evaluation.intervals import Interval
from stream.web.chart_points import (
    POINTS,
    ChartPoints,
    bounded,
    delay_quantiles,
    point_of,
    quality_now,
    shadow_now,
)


def test_columns_stay_of_one_length_when_a_new_one_comes_and_old_points_leave() -> None:
    history = ChartPoints()
    for number in range(POINTS + 5):
        history.add({"at_ms": number, **({"late": 1.0} if number > 2 else {})})
    columns = history.as_dict()
    assert len(columns["at_ms"]) == len(columns["late"]) == POINTS
    assert columns["at_ms"][0] == 5
    short = ChartPoints()
    short.add({"at_ms": 1})
    short.add({"at_ms": 2, "late": 3.0})
    assert short.as_dict() == {"at_ms": [1, 2], "late": [None, 3.0]}


def test_a_version_is_noted_once_when_it_comes_into_service() -> None:
    history = ChartPoints()
    for version, wall_ms in (("a", 1), ("a", 2), ("b", 3), ("a", 4)):
        history.note_version(version, wall_ms, 0)
    assert [(swap.version, swap.wall_ms) for swap in history.swaps] == [("a", 1), ("b", 3), ("a", 4)]


def test_what_is_not_known_is_none_and_never_a_number() -> None:
    nan = float("nan")
    assert bounded(Interval(0.25, nan, nan)) == (0.25, None, None)
    assert bounded(None) == (None, None, None)
    assert delay_quantiles([]) == {"p50": None, "p95": None, "p99": None}
    assert delay_quantiles([1.0, 2.0, 100.0]) == {"p50": 2.0, "p95": 100.0, "p99": 100.0}
    now = {
        "at_ms": 5,
        "events_per_s": None,
        "lag": 0,
        "delay_ms": delay_quantiles([]),
        "quality": quality_now({}),
        "shadow": None,
    }
    point = point_of(now)
    assert point["at_ms"] == 5
    assert point["recall_shadow"] is point["mrr_champion_low"] is None


def test_the_shadows_band_is_that_of_the_difference_around_the_champions_mean() -> None:
    report = {
        "version": "v",
        "role": "challenger",
        "share": 0.2,
        "sessions": 40,
        "events": 100,
        "recall_at_20": {"champion": 0.30, "shadow": 0.32},
        "mrr_at_20": {"champion": 0.10, "shadow": 0.11},
        "recall_difference": [0.02, -0.01, 0.05],
        "mrr_difference": None,
    }
    shown = shadow_now(report)
    assert shown is not None
    assert shown["recall_at_20"] == (0.32, 0.29, 0.35)
    assert shown["mrr_at_20"] == (0.11, None, None)
    assert shown["champion_recall_at_20"] == 0.3
    assert shadow_now({**report, "events": 0, "recall_difference": None})["recall_at_20"] == (None,) * 3  # type: ignore[index]
