import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.registry.registry import Registry
from replay.sending.encoding import events_of
from replay.sending.replay import replay_frames
from stream.events import (
    MAX_LETTER_BYTES,
    REASONS,
    Event,
    RejectedEvent,
    decode_event,
    encode_event,
    encode_recommendation,
)
from stream.sessions.session_state import new_state, pack_state, unpack_state
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import (
    MakeSettings,
    all_lists,
    assert_equal_to_offline,
    by_event,
    run_to_the_end,
    served,
    worker,
)

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]
GOOD = {"session_id": "s", "event_time_ms": 1_700_000_000_000, "item_id": "i1"}
DAY_MS = 86_400_000
ABSURD: list[Any] = [
    None, True, False, 0, -1, 2**63, 10**400, -(10**400), 1.5, 1e308, "", "x" * 300, "x" * 9_000, "\ud800",
    "\u0000", [], {}, [[]], "NaN", " ",
]  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
fields = st.sampled_from([*Event.__struct_fields__, "other"])


@settings(max_examples=500, deadline=None)
@given(
    st.binary()
    | st.dictionaries(fields, anything).map(lambda record: json.dumps({**GOOD, **record}).encode()),
    st.none() | st.binary() | st.just(b"s"),
)
@example(b'{"session_id":"s","event_time_ms":1,"item_id":"\\ud800"}', None)
@example(b'{"session_id":"\\ud800","event_time_ms":1,"item_id":"i"}', None)
@example(b'{"session_id":"s","event_time_ms":1,"item_id":"i","price":1e999}', None)
@example(b"[" * 60_000, None)
def test_whatever_comes_is_an_event_that_can_be_kept_or_is_rejected_with_a_reason(
    value: bytes, key: bytes | None
) -> None:
    try:
        event = decode_event(value, key)
    except RejectedEvent as rejected:
        assert rejected.reason in REASONS
        return
    state = new_state()
    state.remember(event, 7, ("kind", "price", "brand", "category", "title", "user_id"), 50)
    assert unpack_state(pack_state(state)) == state
    assert encode_recommendation(event.session_id, "0-7", event.event_time_ms, "v", [event.item_id], [1.0])


def poison(number: int, chance: random.Random) -> tuple[bytes | None, bytes | None]:
    """Key and value of a record of one of many kinds, hardly ever an event."""
    good = json.dumps({**GOOD, "session_id": f"p{number}"}).encode()
    kinds: list[Callable[[], tuple[bytes | None, bytes | None]]] = [
        lambda: (None, None),
        lambda: (b"k", b""),
        lambda: (b"k", chance.randbytes(chance.randrange(1, 2_000))),
        lambda: (b"k", good[: chance.randrange(1, len(good))]),
        lambda: (f"p{number}x".encode(), good),
        lambda: (chance.randbytes(40), good),
        lambda: (None, json.dumps({**GOOD, chance.choice(list(GOOD)): chance.choice(ABSURD)}).encode()),
        lambda: (None, json.dumps({**GOOD, "event_time_ms": -chance.randrange(1, 10**15)}).encode()),
        lambda: (None, json.dumps({**GOOD, "event_time_ms": 4_102_444_800_000 - number}).encode()),
        lambda: (None, json.dumps({**GOOD, "kind": "other"}).encode()),
        lambda: (None, good.replace(b'"', b"'")),
        lambda: (None, good + good),
        lambda: (None, good.decode().encode("utf-16")),
        lambda: (None, b"[" * 5_000),
        lambda: (None, b" " * 70_000),
    ]
    return chance.choice(kinds)()


def letters(settings: Settings) -> list[Any]:
    consumer = Consumer({**settings.kafka_config(), "group.id": "dead", "fetch.message.max.bytes": 4_000_000})
    tp = TopicPartition(settings.dlq_topic, 0, 0)
    _, high = consumer.get_watermark_offsets(tp, timeout=60)
    consumer.assign([tp])
    found: list[Any] = []
    while len(found) < high:
        found += consumer.consume(high - len(found), timeout=60)
    consumer.close()
    return found


def test_ten_thousand_poison_records_end_as_dead_letters_and_harm_no_session(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, partitions=2)
    model = train_small(shoppers, Registry(settings.registry_dir))
    chance = random.Random(3)
    producer = Producer(settings.producer_config())
    expected = {}
    half = len(shoppers.frame) // 2
    replay_frames(settings, [shoppers.frame.iloc[:half]])
    sent = 0
    while sent < 10_000:
        key, value = poison(sent, chance)
        try:
            decode_event(value, key)
            continue
        except RejectedEvent as rejected:
            reason = rejected.reason
        place = f"poison-{sent}".encode()
        producer.produce(settings.events_topic, value, key, headers=[("place", place)])
        expected[sent] = reason
        sent += 1
        producer.poll(0)
    assert producer.flush(60) == 0
    replay_frames(settings, [shoppers.frame.iloc[half:]])
    status = run_to_the_end(settings, tmp_path)
    assert status["accounting"]["dead_lettered"] == 10_000
    assert status["accounting"]["stepped"] == len(shoppers.frame)
    found = [dict(letter.headers() or [])["reason"].decode() for letter in letters(settings)]
    assert sorted(found) == sorted(expected.values())
    # Of our own JSON: `no_schema` is of records that name a schema.
    assert set(REASONS) - {"future", "past", "no_schema"} <= set(found)
    assert_equal_to_offline(settings, model, shoppers.frame)


def test_records_of_a_megabyte_stop_nothing(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, partitions=1)
    model = train_small(shoppers, Registry(settings.registry_dir))
    config = {**settings.producer_config(), "message.max.bytes": 2_000_000, "compression.type": "none"}
    producer = Producer(config)
    whole = json.dumps({**GOOD, "title": "x" * (MAX_LETTER_BYTES - 1_000)}).encode()
    large = json.dumps({**GOOD, "title": "x" * 1_048_000}).encode()
    for key, value in ((b"s", whole), (b"s", large), (large, whole[:100_000]), (large, None)):
        producer.produce(settings.events_topic, value, key)
    assert producer.flush(60) == 0
    replay_frames(settings, [shoppers.frame])
    status = run_to_the_end(settings, tmp_path)
    assert status["accounting"]["dead_lettered"] == 4
    found = letters(settings)
    assert [letter.value() for letter in found][:2] == [whole, large[: MAX_LETTER_BYTES // 2]]
    cut = [dict(letter.headers() or []).get("cut_from") for letter in found]
    assert cut == [None, b"1,%d" % len(large), b"%d,100000" % len(large), b"%d,0" % len(large)]
    assert_equal_to_offline(settings, model, shoppers.frame)


def test_absurd_times_harm_no_other_session(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    """One in ten events is years late or early, or lies ahead of the wall."""
    settings = make_settings(deterministic=True, partitions=2, recent_items=50)
    model = train_small(shoppers, Registry(settings.registry_dir))
    frame = shoppers.frame
    producer = Producer(settings.producer_config())
    absurd = [0, 1, 999_999_999, 1_700_000_000_000 + 300 * DAY_MS, 1_000_000_000_000, 4_102_444_799_999]

    def send(event: Event) -> None:
        # The broker's own time: it would refuse the absurd ones.
        producer.produce(settings.events_topic, encode_event(event), event.session_id.encode())

    for number, event in enumerate(events_of(frame)):
        send(event)
        turn, rest = divmod(number, 10)
        if not rest and turn <= 200:
            send(Event(f"absurd{turn % 40}", absurd[turn % len(absurd)], "i1"))
    assert producer.flush(120) == 0
    status = run_to_the_end(settings, tmp_path)
    assert status["accounting"]["dead_lettered"] == 33 + 102, "those ahead of the wall, and those of 1970"
    lists = by_event(all_lists(settings))
    absurd_ids = {i for i, shown in lists.items() if shown.session_id.startswith("absurd")}
    assert len(absurd_ids) + 33 + 102 == 201
    assert_equal_to_offline(settings, model, frame, without=absurd_ids)


def test_an_endless_session_keeps_its_size_and_holds_no_other_up(
    make_settings: MakeSettings, tmp_path: Path, full: bool
) -> None:
    # More than two buckets of 10,000 offsets.
    events = 100_000 if full else 25_000
    settings = make_settings(partitions=1)
    log = markov_shoppers(sessions=300, items=60, seed=2)
    train_small(log, Registry(settings.registry_dir), network="transitions")
    producer = Producer({**settings.producer_config(), "queue.buffering.max.messages": 200_000})
    start_ms = int(log.frame["event_time_ms"].iloc[0])
    others = [Event(f"o{n}", start_ms + n, "i1") for n in range(200)]
    for number in range(events):
        event = Event("bot", start_ms + number // 50, f"i{number % 60}")
        producer.produce(settings.events_topic, encode_event(event), b"bot")
        if number < len(others):
            producer.produce(
                settings.events_topic, encode_event(others[number]), others[number].session_id.encode()
            )
    assert producer.flush(60) == 0
    with worker(settings, tmp_path) as process:
        status = process.wait_until(served(events + len(others)), "all events", timeout_s=400)
        assert process.stop() == 0
    assert status["accounting"]["stepped"] == events + len(others)
    received = all_lists(settings)
    assert len(by_event(received)) == events + len(others)
    place = {shown.recommendation.session_id: n for n, shown in enumerate(received)}
    # The last of the others was sent as number 400 or so; the look-ahead reaches it early on.
    assert max(place[event.session_id] for event in others) < 1_000
    last = max((r for r in received if r.recommendation.session_id == "bot"), key=lambda r: r.offset)
    assert last.headers["position"] == str(events)
