from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.quality.cells import GROUPS, POSITIONS, UNIT, VERSIONS, group_of
from stream.quality.item_age import AGES
from stream.quality.observed_event import ObservedEvent
from stream.quality.prequential import MOST_WAITING, Prequential
from stream.quality.sums import WINDOWS, QualitySums, measured
from stream.quality.windows import BUCKET_MS, KEPT_BUCKETS
from stream.sessions.watermark import LEAP_MS, NO_WATERMARK

START_MS = 1_700_000_000_000 // BUCKET_MS * BUCKET_MS
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def event(time_ms: int, rank: int = 1, **changes: Any) -> ObservedEvent:
    made = ObservedEvent(0, time_ms, time_ms, "s", "i", True, 1, "v1", rank, 0, ())
    return msgspec.structs.replace(made, **changes)


@st.composite
def logs(draw: st.DrawFn) -> list[ObservedEvent]:
    """Events of two partitions whose time goes on unevenly, some of them late, with their watermarks."""
    watermarks = {0: NO_WATERMARK, 1: NO_WATERMARK}
    now_ms, events = START_MS, []
    for _ in range(draw(st.integers(1, 80))):
        now_ms += draw(st.sampled_from([0, 1_000, MINUTE, 7 * MINUTE, 40 * MINUTE]))
        partition = draw(st.integers(0, 1))
        time_ms = now_ms - draw(st.sampled_from([0, 0, 0, 2 * MINUTE, 3 * HOUR]))
        session = f"s{draw(st.integers(0, 5))}-{partition}"
        events.append(
            ObservedEvent(
                partition,
                watermarks[partition].ms,
                time_ms,
                session,
                f"i{draw(st.integers(0, 6))}",
                draw(st.booleans()),
                draw(st.integers(0, 12)),
                f"v{draw(st.integers(1, 3))}",
                draw(st.integers(0, 20)),
                draw(st.integers(0, 20)),
                (),
            )
        )
        watermarks[partition] = watermarks[partition].after(session, time_ms)
    return events


def scored(events: Sequence[ObservedEvent], newest: int = 1000, fading: float = 0.99) -> Prequential:
    prequential = Prequential(newest, fading)
    for start in range(0, len(events), 7):
        prequential.add(events[start : start + 7])
    return prequential


def naive(events: Sequence[ObservedEvent], weights: Sequence[float] | None = None) -> dict[str, Any]:
    """Champion's and POP's sums over events, kind by kind, in plain words."""
    sums: dict[str, dict[str, Counter[str]]] = {"all": {}, "version": {}, "position": {}}
    for place, one in enumerate(events):
        position = next(
            name for name, most in zip(POSITIONS, (1, 2, 5, 10, 10**9), strict=True) if one.position <= most
        )
        for kind, value in (("all", "all"), ("version", one.version), ("position", position)):
            of = sums[kind].setdefault(value, Counter())
            weight = 1 if weights is None else weights[place]
            of["events"] += weight  # type: ignore[assignment]
            for system, rank in (("champion", one.champion_rank), ("pop", one.pop_rank)):
                of[f"{system}_hits"] += weight * (rank > 0)  # type: ignore[assignment]
                of[f"{system}_rr"] += weight / rank if rank else 0  # type: ignore[assignment]
    return sums


def assert_window_is(sums: QualitySums, window: str, expected: dict[str, Any]) -> None:
    for kind, slices in expected.items():
        found = sums.windows[window][kind]
        assert found.keys() == slices.keys()
        for value, counts in slices.items():
            systems = measured(found[value])
            for system in ("champion", "pop"):
                assert systems[system].events == pytest.approx(counts["events"])
                assert systems[system].hits == pytest.approx(counts[f"{system}_hits"])
                assert systems[system].reciprocal_ranks == pytest.approx(counts[f"{system}_rr"])


def is_confirmed(one: ObservedEvent, log: Sequence[ObservedEvent]) -> bool:
    """Whether its partition's watermark came so far, at last, that its time is believed."""
    clock_ms = 0
    for other in log:
        if other.partition == one.partition:
            clock_ms = max(clock_ms, other.watermark_ms)
            if other.time_ms <= clock_ms + LEAP_MS:
                clock_ms = max(clock_ms, other.time_ms)
    return one.time_ms <= clock_ms + LEAP_MS


@settings(max_examples=60, deadline=None)
@given(logs(), st.integers(1, 30))
def test_every_window_holds_what_a_naive_recomputation_holds(log: list[ObservedEvent], newest: int) -> None:
    sums = scored(log, newest).sums()
    predicted = [one for one in log if one.position]
    assert_window_is(sums, "total", naive(predicted))
    assert_window_is(sums, "newest", naive(predicted[-newest:]))
    confirmed = [one for one in predicted if is_confirmed(one, log)]
    for window, length_ms in (("1h", HOUR), ("24h", DAY)):
        inside = [one for one in confirmed if sums.until_ms - length_ms <= one.time_ms < sums.until_ms]
        assert_window_is(sums, window, naive(inside))
    assert sums.waiting == len(predicted) - len(confirmed)


@settings(max_examples=60, deadline=None)
@given(logs(), st.sampled_from([0.5, 0.9, 0.9999]))
def test_the_fading_factor_follows_its_recursion_in_every_slice(
    log: list[ObservedEvent], fading: float
) -> None:
    found = scored(log, fading=fading).sums().windows["fading"]
    predicted = [one for one in log if one.position]
    slices = [("all", "all", predicted)]
    for version in {one.version for one in predicted}:
        slices.append(("version", version, [one for one in predicted if one.version == version]))
    for kind, value, events in slices:
        if not events:
            continue
        hits = count = 0.0
        for one in events:
            hits, count = (one.champion_rank > 0) + fading * hits, 1 + fading * count
        quality = measured(found[kind][value])["champion"]
        assert quality.events == pytest.approx(count)
        assert quality.recall.mean == pytest.approx(hits / count)


@settings(max_examples=40, deadline=None)
@given(logs())
def test_two_workers_together_have_scored_what_one_would(log: list[ObservedEvent]) -> None:
    # Each has its own last hour and its own ages, so these are compared elsewhere.
    parts = [scored([one for one in log if one.partition == number]) for number in (0, 1)]
    whole = scored(log).sums()
    a, b = (QualitySums.from_json(part.sums(whole.until_ms).to_json()) for part in parts)
    for merged in (a.merged(b), b.merged(a)):
        assert (merged.outside, merged.waiting) == (whole.outside, whole.waiting)
        assert merged.event_time_ms == whole.event_time_ms
        assert merged.series.keys() == whole.series.keys()
        for start_ms, table in whole.series.items():
            np.testing.assert_array_equal(merged.series[start_ms][:, :5], table[:, :5])
        for window in ("1h", "24h", "newest", "total"):
            for kind in ("all", "version", "position"):
                found, expected = merged.windows[window][kind], whole.windows[window][kind]
                assert found.keys() == expected.keys()
                for value, table in expected.items():
                    np.testing.assert_array_equal(found[value][:, :5], table[:, :5])


def test_sums_of_different_ends_are_not_added() -> None:
    sums = scored([event(START_MS + n) for n in range(3)]).sums()
    with pytest.raises(ValueError, match="and until"):
        sums.merged(replace(sums, until_ms=sums.until_ms + BUCKET_MS))
    with pytest.raises(ValueError, match=r"faded by 0\.5"):
        sums.merged(replace(sums, fading=0.5))


def test_text_that_is_no_sums_is_refused() -> None:
    text = scored([event(START_MS)]).sums().to_json()
    assert tuple(QualitySums.from_json(text).windows) == WINDOWS
    for broken in (b"{}", b"no", text.replace(b'"format":3', b'"format":2'), text.replace(b'"24h"', b'"1d"')):
        assert broken != text
        with pytest.raises(ValueError, match=r"."):
            QualitySums.from_json(broken)
    short = text.replace(b'"total":{"all":{"all":[[0,0,0,0,0,0,0],', b'"total":{"all":{"all":[')
    assert short != text
    with pytest.raises(ValueError, match="a table of"):
        QualitySums.from_json(short)


def steady(minutes: int, start_ms: int = START_MS, **changes: Any) -> list[ObservedEvent]:
    return [event(start_ms + minute * MINUTE, **changes) for minute in range(minutes)]


def test_a_late_event_counts_where_its_time_is_and_one_of_days_ago_in_no_window_of_time() -> None:
    late = [event(START_MS + 90 * MINUTE, watermark_ms=START_MS + 299 * MINUTE)]
    ancient = [event(START_MS - 2 * DAY, watermark_ms=START_MS + 299 * MINUTE)]
    sums = scored([*steady(300), *late, *ancient]).sums()
    bucket = START_MS + 90 * MINUTE
    assert sums.series[bucket][:, 0].sum() == 6
    assert {table[:, 0].sum() for start_ms, table in sums.series.items() if start_ms != bucket} == {5}
    assert sums.outside == 1
    assert measured(sums.windows["1h"]["all"]["all"])["champion"].events == 60
    assert measured(sums.windows["24h"]["all"]["all"])["champion"].events == 301
    assert measured(sums.windows["total"]["all"]["all"])["champion"].events == 302


def test_absurd_times_move_no_window_and_cannot_fill_the_memory() -> None:
    events: list[ObservedEvent] = []
    for number, one in enumerate(steady(500)):
        events += [
            one,
            event(4_000_000_000_000 - number * HOUR, watermark_ms=one.time_ms),
            event(number, watermark_ms=one.time_ms),
        ]
    prequential = scored(events)
    sums = prequential.sums()
    assert sums.until_ms == START_MS + 500 * MINUTE
    assert measured(sums.windows["1h"]["all"]["all"])["champion"].events == 60
    assert sums.waiting == MOST_WAITING
    assert sums.outside == 1000 - MOST_WAITING
    assert len(sums.series) == 100
    assert measured(sums.windows["total"]["all"]["all"])["champion"].events == 1500


def test_buckets_are_forgotten_a_day_later() -> None:
    prequential = scored(steady(3 * 24 * 60))
    sums = prequential.sums()
    assert len(prequential._buckets.buckets) == KEPT_BUCKETS
    assert measured(sums.windows["24h"]["all"]["all"])["champion"].events == 24 * 60


def test_only_the_newest_versions_have_sums_and_an_old_one_does_not_come_back() -> None:
    events = [event(START_MS + n * 1000, version=f"v{n // 10}", rank=n % 2) for n in range(80)]
    prequential = scored([*events, *(event(START_MS + 80_000, version="v0") for _ in range(5))], newest=60)
    for window in WINDOWS:
        found = prequential.sums().windows[window]["version"]
        assert list(found) == ["v4", "v5", "v6", "v7"][-VERSIONS:]
        if window != "fading":
            assert {measured(table)["champion"].events for table in found.values()} == {10}
    # What leaves the newest events later takes nothing from those who have the slot now.
    prequential.add([event(START_MS + 90_000, version="v8") for _ in range(30)])
    found = prequential.sums().windows["newest"]["version"]
    counts = {name: measured(table)["champion"].events for name, table in found.items()}
    assert counts == {"v5": 5, "v6": 10, "v7": 10, "v8": 30}


def test_an_event_of_a_session_without_a_list_is_learned_from_and_not_scored() -> None:
    minute = START_MS + MINUTE
    begun = [event(START_MS), event(START_MS, session_id="t", item_id="j")]
    first = [event(minute + n, position=0, item_id="new", session_id=f"u{n}") for n in range(3)]
    sums = scored([*begun, *first, event(minute + 9, item_id="new")]).sums()
    found = measured(sums.windows["total"]["all"]["all"])["window_pop"]
    assert found.events == 3
    assert found.reciprocal_ranks == pytest.approx(1, abs=1e-6)


def test_ages_are_reckoned_from_the_first_event_of_an_item_that_no_version_knew() -> None:
    times = [0, 30 * MINUTE, 3 * HOUR, 3 * DAY, 9 * DAY]
    events = []
    for hours in range(9 * 24 + 1):
        now_ms = START_MS + hours * HOUR
        events += [event(now_ms + n * 6 * MINUTE, item_id="old") for n in range(10)]
        for time_ms in times:
            if time_ms // HOUR == hours:
                # Known to a later version, it is as old as it is.
                events.append(event(START_MS + time_ms, item_id="new", known=time_ms > HOUR))
    sums = scored(events).sums()
    counts = {
        name: measured(table)["champion"].events for name, table in sums.windows["total"]["item_age"].items()
    }
    assert counts == {"trained": 10 * (9 * 24 + 1), "<1 h": 2, "<1 day": 1, "<1 week": 1, "older": 1}
    assert set(counts) == set(AGES)


def test_a_session_is_in_one_group_and_sessions_are_spread_over_all() -> None:
    groups = Counter(group_of(f"session-{n}") for n in range(20_000))
    assert len(groups) == GROUPS
    assert max(groups.values()) < 1.4 * min(groups.values())
    assert [group_of(f"session-{n}") for n in range(3)] == [44, 8, 44]


def test_whole_numbers_hold_every_reciprocal_rank_exactly() -> None:
    assert all(UNIT % rank == 0 for rank in range(1, 21))
    ranks = [1 + n % 20 for n in range(2000)]
    sums = scored([event(START_MS + n, rank=rank) for n, rank in enumerate(ranks)]).sums()
    table = sums.windows["total"]["all"]["all"]
    assert table[:, 2].sum() == sum(UNIT // rank for rank in ranks)
    assert table.dtype == np.int64


@settings(max_examples=20, deadline=None)
@given(logs(), st.integers(1, 30), st.data())
def test_what_the_version_has_learned_is_summed_apart_in_every_window(
    log: list[ObservedEvent], newest: int, data: st.DataObject
) -> None:
    """No slice, no window and no series but `in_sample` holds any of it."""
    marked = [msgspec.structs.replace(one, learned=data.draw(st.booleans())) for one in log]
    prequential = scored(marked, newest)
    sums = QualitySums.from_json(prequential.sums().to_json())
    predicted = [one for one in marked if one.position]
    honest = [one for one in predicted if not one.learned]
    learned = [one for one in predicted if one.learned]
    assert_window_is(sums, "total", naive(honest))
    assert_window_is(sums, "newest", naive([one for one in predicted[-newest:] if not one.learned]))
    expected = {"in_sample": naive(learned)["all"]}
    assert_window_is(sums, "total", expected)
    whole = measured(prequential.in_sample()["total"])
    assert (whole["champion"].events if whole else 0) == len(learned)
    in_series = sum(float(table[:, 0].sum()) for table in sums.series.values())
    assert in_series <= len(honest)
