"""The first model from a topic: its own or a shop's, read once up to its end at the start."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from confluent_kafka import Producer

from model.data.learned_events import LearnedEvents
from model.registry.registry import Registry
from replay.certificates.certificate import EVENTS, read_certificate
from replay.sending.replay import replay_frames
from stream.kafka.topic_id import topic_id
from stream.kafka.topic_reader import TopicReader
from stream.log_mapping import LogMapping
from stream.settings import Settings
from tests.harness.archives import remove_before
from tests.harness.commands import run, run_json
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings

pytestmark = pytest.mark.kafka

NETWORK = ("--network", "transitions")
SHOP = LogMapping(
    {"session": "visitor", "item": "product.sku", "time": "at", "kind": "what"}, {"scroll": "left out"}
)


def send_as_a_shop(settings: Settings, log: SyntheticLog) -> None:
    """Send the log in a shop's own JSON, with records that are no events, and some that are broken."""
    producer = Producer(settings.producer_config())
    for number, row in enumerate(log.frame.itertuples(index=False)):
        record = {"visitor": row.session_id, "product": {"sku": row.item_id}, "at": row.event_time_ms}
        values = [json.dumps({**record, "what": "view"})]
        values += [json.dumps({**record, "what": "scroll"})] * (number % 5 == 0) + ["{"] * (number % 50 == 0)
        for value in values:
            producer.produce(settings.events_topic, value, row.session_id, timestamp=row.event_time_ms)
        producer.poll(0)
    assert producer.flush(120) == 0


def use(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)


def test_a_first_model_is_learned_from_a_shops_topic(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    use(monkeypatch, settings)
    csv, mapping = tmp_path / "log.csv", tmp_path / "shop.toml"
    shoppers.frame.to_csv(csv, index=False)
    mapping.write_text(SHOP.as_toml())
    send_as_a_shop(settings, shoppers)
    of_file = run_json("train", csv, *NETWORK)
    result = run("train", "--from-topic", "--log", mapping, *NETWORK, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    events, broken = len(shoppers.frame), -(-len(shoppers.frame) // 50)
    assert f"{events:,} events" in result.stderr
    assert f"left out {-(-events // 5):,}: other_kind" in result.stderr
    assert f"left out {broken:,}: not_json" in result.stderr
    of_topic = json.loads(result.stdout)
    assert of_topic["evaluation"] == of_file["evaluation"]
    data = Registry(settings.registry_dir).load(of_topic["version"]).manifest["data"]
    # As a retraining keeps them: the worker knows what was learned, the next retraining goes on after it.
    assert data["source"] == settings.events_topic
    assert data["topic_id"] == topic_id(settings, settings.events_topic)
    ends = sum(end - first for first, end in data["offsets"].values())
    assert ends == events + -(-events // 5) + broken
    assert LearnedEvents.of(data, settings.events_topic).offsets
    # What retention removed is said.
    remove_before(settings, {0: 20})
    monkeypatch.setenv("NEXTCLICK_EVENTS_MAPPING", str(mapping))
    compared = run("compare", "--from-topic", "--models", "pop", "--json")
    assert compared.exit_code == 0, (compared.output, compared.exception)
    assert "partition 0 at 20" in compared.stderr


def test_a_shops_topic_is_replayed_into_another_in_order_of_time(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, served, again = make_settings(partitions=3), make_settings(partitions=2), make_settings()
    use(monkeypatch, served)
    mapping, sent = tmp_path / "shop.toml", tmp_path / "sent.json"
    mapping.write_text(SHOP.as_toml())
    # Late: a partition is not in order of time.
    late = replace(shoppers, frame=pd.concat([shoppers.frame[500:], shoppers.frame[:500]]))
    send_as_a_shop(shop, late)
    command = ("replay", "--from-topic", shop.events_topic, "--log", mapping)
    result = run(*command, "--certificate", sent, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    events = len(shoppers.frame)
    told = json.loads(result.stdout)
    assert told["sure"] == events
    assert told["rejects"] == {"other_kind": -(-events // 5), "not_json": -(-events // 50)}
    expected = tmp_path / "expected.json"
    replay_frames(make_settings(partitions=2), [shoppers.frame], certificate=expected)
    of_topic, of_log = (read_certificate(path, EVENTS) for path in (sent, expected))
    assert of_topic.multiset_sha256 == of_log.multiset_sha256
    with TopicReader(served, served.events_topic) as reader:
        for number, bounds in enumerate(reader.bounds()):
            times = [message.timestamp()[1] for batch in reader.read(number, *bounds) for message in batch]
            assert times == sorted(times)
            assert times
    # The settings may be those of the shop's topic: then another one has to be named, by its name alone.
    use(monkeypatch, again)
    monkeypatch.setenv("NEXTCLICK_EVENTS_TOPIC", shop.events_topic)
    monkeypatch.setenv("NEXTCLICK_EVENTS_MAPPING", str(mapping))
    same = run("replay", "--from-topic", shop.events_topic)
    assert "would be read and written" in same.output
    result = run("replay", "--from-topic", shop.events_topic, "--topic", again.events_topic, "--limit", "70")
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"70 events are in {again.events_topic}" in result.stdout
    # An archive of the shop's topic is a log too.
    archived = run("archive", "--folder", tmp_path / "archive", "--until-end")
    assert archived.exit_code == 0, (archived.output, archived.exception)
    use(monkeypatch, again)
    monkeypatch.setenv("NEXTCLICK_EVENTS_MAPPING", "")
    assert run_json("replay", tmp_path / "archive")["sure"] == events


def test_a_cadence_is_studied_on_a_topic_as_on_its_file(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    use(monkeypatch, settings)
    csv, mapping = tmp_path / "log.csv", tmp_path / "shop.toml"
    shoppers.frame.to_csv(csv, index=False)
    mapping.write_text(SHOP.as_toml())
    send_as_a_shop(settings, shoppers)
    small = ("--every", "never", "--set", "hidden_size=8")
    of_file, of_topic = (
        run_json("cadence", *log, *small) for log in ([csv], ["--from-topic", "--log", mapping])
    )
    figures = [
        [(row["name"], row["recall"], row["training_events"]) for row in found["rows"]]
        for found in (of_file, of_topic)
    ]
    assert figures[0] == figures[1]
    assert figures[0]


def test_a_topic_that_holds_no_log_is_refused_with_what_to_do(
    make_settings: MakeSettings, shoppers: SyntheticLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    use(monkeypatch, settings)
    empty = run("train", "--from-topic")
    assert f"{settings.events_topic} has no records" in str(empty.exception)
    send_as_a_shop(settings, shoppers)
    other = run("data", "report", "--from-topic")
    assert "0 of" in str(other.exception)
    assert "schema" in str(other.exception)
    assert "NEXTCLICK_EVENTS_MAPPING" in str(other.exception)
    monkeypatch.setenv("NEXTCLICK_EVENTS_TOPIC", "no-such-topic")
    assert "no-such-topic cannot be read" in str(run("compare", "--from-topic").exception)
