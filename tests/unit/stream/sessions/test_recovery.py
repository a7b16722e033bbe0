"""Offsets of another topic: of the store, of the group, of both; and what was stored before ids were kept."""

import logging
import zlib
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import TopicPartition

from model.data.session_rule import SessionRule
from stream.sessions.offsets import AppliedOffsets, encode_metadata, pack_applied, unpack_applied
from stream.sessions.partition import OpenPartition
from stream.sessions.recovery import Recovery
from stream.sessions.session_state import new_state
from stream.sessions.store import Batch, SessionStore, make_block_cache
from stream.settings import Settings

OLD, NOW = "old-topic", "topic-of-now"
POSITION = 2_020


def stored(folder: Path, topic_id: str) -> None:
    """A store at POSITION with one session."""
    store, batch = SessionStore(folder / "events-0"), Batch()
    OpenPartition(0, store)
    batch.put_state("s", b"state")
    batch.put_applied(AppliedOffsets(position=POSITION, top=POSITION, sessions=1, topic_id=topic_id))
    store.write(batch)
    store.close()


def committed(topic_id: str | None, offset: int = POSITION) -> TopicPartition:
    """The group's offset, by a worker that knew the topic's id; with None by another program."""
    metadata = (
        encode_metadata(AppliedOffsets(position=offset, topic_id=topic_id)) if topic_id is not None else ""
    )
    return TopicPartition("events", 0, offset, metadata)


def opened(folder: Path, group: TopicPartition | None, topic_id: str = NOW) -> OpenPartition:
    settings = Settings(bootstrap_servers="127.0.0.1:9", state_dir=folder)
    recovery = Recovery(settings, SessionRule(1_800), (), make_block_cache(1 << 20), topic_id=topic_id)
    partition = recovery.open(0, group)
    partition.store.close()
    return partition


@pytest.mark.parametrize(
    ("store_of", "group_of"), [(OLD, OLD), (OLD, None), (OLD, ""), ("", OLD), (OLD, "no offset")]
)
def test_a_store_of_another_topic_is_moved_aside_and_its_partition_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, store_of: str, group_of: str | None
) -> None:
    stored(tmp_path, store_of)
    group = None if group_of == "no offset" else committed(group_of)
    partition = opened(tmp_path, group)
    assert (partition.position, partition.sessions, partition.begun_anew) == (0, 0, True)
    assert partition.durable == AppliedOffsets(topic_id=NOW)
    (kept,) = tmp_path.glob("events-0.other-topic-*")
    assert SessionStore(kept).load(["s"]) == [b"state"]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert f"its id is {NOW}, was {OLD}" in warning
    assert "read from the log's beginning" in warning


def test_without_a_store_the_offset_of_another_topic_counts_for_nothing(tmp_path: Path) -> None:
    partition = opened(tmp_path, committed(OLD))
    assert (partition.position, partition.begun_anew) == (0, True)
    assert not list(tmp_path.glob("*.other-topic-*"))


def test_a_partition_that_began_anew_keeps_its_store_while_the_group_still_names_the_old_topic(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored(tmp_path, NOW)
    partition = opened(tmp_path, committed(OLD, offset=9_000))
    assert (partition.position, partition.sessions, partition.begun_anew) == (POSITION, 1, False)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize("group_of", [NOW, "", None])
def test_a_store_from_before_ids_were_kept_takes_the_id_of_now_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, group_of: str | None
) -> None:
    caplog.set_level(logging.INFO)
    stored(tmp_path, "")
    for said in (1, 1):
        partition = opened(tmp_path, committed(group_of))
        assert (partition.position, partition.topic_id, partition.begun_anew) == (POSITION, NOW, False)
        assert sum("the store names no topic" in record.getMessage() for record in caplog.records) == said
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert opened(tmp_path, None, topic_id="one more").begun_anew


def test_where_the_brokers_name_no_id_nothing_is_another_topic(tmp_path: Path) -> None:
    stored(tmp_path, OLD)
    partition = opened(tmp_path, committed(OLD), topic_id="")
    assert (partition.position, partition.topic_id, partition.begun_anew) == (POSITION, OLD, False)


def test_every_wave_names_the_topic(tmp_path: Path) -> None:
    settings = Settings(bootstrap_servers="127.0.0.1:9", state_dir=tmp_path)
    recovery = Recovery(settings, SessionRule(1_800), (), make_block_cache(1 << 20), topic_id=NOW)
    partition = recovery.open(0, None)
    state = new_state()
    state.recent_offsets = [0]
    partition.ensure_bucket(0, partition.watermark)
    partition.put(1, "s", state, None)
    batch, applied = partition.seal(1, [])
    partition.write(batch, applied)
    assert applied.topic_id == NOW
    partition.store.close()
    reopened = SessionStore(tmp_path / "events-0")
    assert reopened.applied is not None
    assert reopened.applied.topic_id == NOW
    reopened.close()


def test_applied_offsets_from_before_ids_were_kept_are_read_as_of_an_unknown_topic() -> None:
    now = AppliedOffsets(position=7, top=9, pending=[7], sessions=2, recover_from=3)
    *before, _ = msgspec.to_builtins(now)
    packed = pack_applied(now)
    body = msgspec.msgpack.encode(before)
    assert unpack_applied(zlib.crc32(body).to_bytes(4, "big") + body) == now == unpack_applied(packed)


@pytest.mark.parametrize(("group_of", "skipped"), [(None, 500), (NOW, 0)])
def test_events_that_another_program_set_the_offset_past_are_told_and_those_of_another_worker_are_not(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    group_of: str | None,
    skipped: int,
) -> None:
    stored(tmp_path, NOW)
    replayed: list[tuple[int, int]] = []
    monkeypatch.setattr(
        Recovery,
        "_replay_histories",
        lambda self, partition, first, end: replayed.append((first, end)),
    )
    partition = opened(tmp_path, committed(group_of, POSITION + 500))
    # Their histories are read again in both cases; in one of them another worker has made their lists.
    assert replayed == [(POSITION, POSITION + 500)] or not skipped
    assert partition.skipped == skipped
    told = f"another program has set the committed offset to {POSITION + 500}; the 500 events"
    assert (told in caplog.text) is bool(skipped)
