import math
from pathlib import Path

import numpy as np
import pytest

from deploy.benchmarks.capacity import session_simulation
from deploy.benchmarks.capacity.arithmetic import Arithmetic
from deploy.benchmarks.capacity.session_laws import (
    GeometricLaw,
    LoggedLaw,
    catch_up_s,
    oldest_age_s,
    open_sessions,
)
from deploy.benchmarks.capacity.session_simulation import Stream, stream_of
from deploy.benchmarks.capacity.sheet import Sheet, Target, read_figures
from deploy.benchmarks.scale import FIGURES
from model.data.sessions import Sessions
from model.errors import NextclickError
from stream.events import Event
from stream.sessions import partition as partition_module
from stream.sessions.partition import OpenPartition
from stream.sessions.session_state import SessionState, new_state
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK


def test_a_session_is_open_from_its_first_event_to_a_silence_after_its_last() -> None:
    # 10 sessions/s of 3 events, 60 s apart: each is open for 120 s and a silence of 1,860 s.
    assert open_sessions(10, GeometricLaw(3, 60, 1_800), 1_860) == pytest.approx(19_800)


def test_the_oldest_of_many_exponential_durations_has_the_age_of_gumbel() -> None:
    law = GeometricLaw(4, 100, 1_800)
    expected = 1_860 + 400 * (math.log(50 * 0.75 * 400) + np.euler_gamma)
    mean_s, deviation_s = oldest_age_s(50, law, 1_860, 50)
    assert mean_s == pytest.approx(expected, rel=1e-3)
    assert deviation_s == pytest.approx(400 * math.pi / math.sqrt(6), rel=1e-2)


def test_a_log_has_the_moments_and_the_tail_of_its_sessions() -> None:
    times_ms = np.array([0, 10_000, 40_000, 5_000, 7_000, 7_000], np.int64)
    offsets, ids = np.array([0, 3, 5, 6]), np.array(["a", "b", "c"], object)
    law = LoggedLaw(Sessions(offsets, np.zeros(6, np.int64), times_ms, ids))
    assert (law.mean_events, law.mean_square_events) == pytest.approx((2, 14 / 3))
    assert law.mean_duration_s == pytest.approx(14)
    assert law.longer(2) == pytest.approx(1 / 3)
    assert law.older_s(np.array([0.0, 5, 6, 15, 55]), 5, 50) == pytest.approx([19, 14, 40 / 3, 10, 0])
    # It keeps two: the oldest is that of 0 s until 40 s, then that of 10 s, until it is gone at 45 s.
    assert law.older_s(np.array([15.0, 36, 41]), 5, 2) == pytest.approx([30 / 3, 4 / 3, 0])
    assert law.older_s(np.array([33.0]), 5, 2) == pytest.approx([(7 + 2) / 3])
    lengths, gaps_s = law.sample(np.random.default_rng(0), 100)
    assert set(lengths) == {1, 2, 3}
    assert set(gaps_s) == {0, 2, 10, 30}


def test_a_backlog_is_gone_when_the_spare_capacity_has_served_it() -> None:
    assert catch_up_s(100, 15, 10) == 20
    assert catch_up_s(100, 10, 10) == math.inf


def test_recover_from_is_simulated_as_a_partition_computes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (partition_module, session_simulation):
        monkeypatch.setattr(module, "BUCKET_OFFSETS", 50)
    monkeypatch.setattr(partition_module, "WAVES_BETWEEN_EXPIRIES", 1)
    silence_s, recent_items = 90, 4
    rng = np.random.default_rng(0)
    law = GeometricLaw(4, 20, 60)
    made = stream_of(law, rng, rng.random(500) * 1_000)
    stream = Stream(made.lengths_S, np.round(made.times_E, 3))
    owner = np.repeat(np.arange(500), stream.lengths_S)
    order = np.argsort(stream.times_E, kind="stable")
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    watermark = NO_WATERMARK
    states: dict[str, SessionState] = {}
    ranges: set[int] = set()
    for offset, event in enumerate(order.tolist()):
        now_s, name = float(stream.times_E[event]), f"s{owner[event]}"
        now_ms = round(now_s * 1000)
        partition.ensure_bucket(offset, watermark)
        earlier, watermark = watermark, watermark.after(name, now_ms)
        partition.pending.add(offset, earlier, watermark)
        before = states.get(name)
        oldest = before.recent_offsets[0] if before else None
        state = states.setdefault(name, new_state())
        state.remember(Event(name, now_ms, "i"), offset, (), recent_items)
        partition.put(offset, name, state, oldest)
        # As the next wave finds it: the watermark of this one has been sealed.
        batch, applied = partition.seal(offset, [offset])
        partition.write(batch, applied)
        partition.expire(offset, silence_s * 1000, events=1)
        if offset % 97 == 0:
            batch, applied = partition.seal(offset, [])
            partition.write(batch, applied)
            expected = stream.recovery(now_s, silence_s, recent_items)
            assert (applied.sessions, applied.position, applied.recover_from) == expected
            ranges.add(applied.position - applied.recover_from)
        partition.drop_written(offset)
    partition.store.close()
    assert max(ranges) > 100


def test_a_line_rests_on_figures_and_lines_that_exist() -> None:
    sheet = Sheet({"a.b": 1.0, "assumed.c": 2.0})
    sheet.add("first | s | as it is | a.b, assumed.c", 3)
    sheet.add("second | s | the same | first", 3)
    assert [line.assumed for line in sheet.lines] == [True, True]
    with pytest.raises(AssertionError, match="rests on"):
        sheet.add("third | s | of nothing | fourth", 3)


def test_twice_the_events_need_twice_the_workers() -> None:
    figures, law = read_figures(FIGURES, 46_033), GeometricLaw(3, 60, 1_800)
    once, twice = (
        Arithmetic(figures, Target(rate, 46_033, 1_800, 60, 8, 3, 3, 30, 7), law) for rate in (1e6, 2e6)
    )
    assert twice["workers"] / once["workers"] == pytest.approx(2, rel=0.05)
    assert twice["open sessions"] == 2 * once["open sessions"]
    assert once["worker load"] * once["worker skew"] <= once["utilisation"]


def test_nothing_is_said_of_gpus_before_a_rate_of_one_is_measured() -> None:
    figures, law = read_figures(FIGURES, 46_033), GeometricLaw(3, 60, 1_800)
    target = Target(1e6, 46_033, 1_800, 20, 8, 3, 3, 30, 7)
    figures.pop("gpu.events_per_s", None)
    assert not [line for line in Arithmetic(figures, target, law).lines if "GPU" in line.group]
    measured = Arithmetic({**figures, "gpu.events_per_s": 1e6, "gpu.items": 46_033}, target, law)
    assert measured["GPUs"] == math.ceil(1 / measured["utilisation"])
    fewer = Arithmetic({**figures, "gpu.events_per_s": 1e6, "gpu.items": 10_000}, target, law)
    assert "a GPU's rate is measured with 10,000 items" in fewer.warnings[-1]


def test_a_vocabulary_larger_than_all_measured_ones_is_refused() -> None:
    with pytest.raises(NextclickError, match="no worker with"):
        read_figures(FIGURES, 10_000_000)
