from pathlib import Path

from model.data.session_rule import SessionRule
from stream.events import Event
from stream.sessions.history_replay import HistoryReplay
from stream.sessions.offsets import AppliedOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.store import Batch, SessionStore
from stream.sessions.watermark import Watermark

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


def test_an_event_that_the_store_has_advances_the_watermark_and_no_history(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "p0")
    batch = Batch()
    batch.put_applied(AppliedOffsets(position=0, watermark=Watermark(START_MS), top=2, pending=[0]))
    store.write(batch)
    store.close()
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    replay = HistoryReplay(partition, SessionRule(1_800.0), (), 50)
    times_ms = (START_MS, START_MS + HOUR_MS, *(START_MS + HOUR_MS + n for n in range(5, 10)))
    replay.add([(n, Event(f"s{n}", time_ms, "i")) for n, time_ms in enumerate(times_ms)], len(times_ms))
    replay.write(len(times_ms))
    # The leap of the second record, which is applied already, is confirmed by those after it.
    assert partition.watermark.ms == START_MS + HOUR_MS
    assert [state is not None for state in partition.load(["s0", "s1", "s2"])] == [True, False, True]
    assert partition.sessions == len(times_ms) - 1
    partition.store.close()
