"""A person who is forgotten stays so: in a worker that runs, and in one that recovers from the log."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

import nextclick
from model.data.session_rule import SessionRule
from model.registry.registry import Registry
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.sources import CatalogueSources
from stream.events import Event, Kind, encode_event
from stream.kafka.partitioner import partition_of
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import ensure_topics
from stream.outcomes.outcome import Outcome, decode_outcome
from stream.sessions.session_in_log import session_in_log
from stream.sessions.session_in_store import session_in_store
from stream.settings import Settings
from tests.conftest import train_small
from tests.faults.test_ingest import committed
from tests.harness.archives import archive_all, archived
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import MakeSettings, all_committed, all_lists, stop, worker

pytestmark = pytest.mark.kafka
START_MS = 1_700_000_000_000
SESSIONS = {"anns-first": "ann", "anns-second": "ann", "bobs": "bob", "nobodys": None}


def send(settings: Settings, at_s: int) -> None:
    producer = Producer(settings.producer_config())
    for number in range(3):
        for session, user in SESSIONS.items():
            event = Event(session, START_MS + 1_000 * (at_s + number), f"i{number + 1}", user_id=user)
            producer.produce(settings.events_topic, encode_event(event), session.encode())
    assert producer.flush(120) == 0


def stored(settings: Settings) -> set[str]:
    found = {s: session_in_store(settings, s, partition_of(s, settings.partitions)) for s in SESSIONS}
    return {session for session, state in found.items() if state is not None}


def test_what_is_kept_of_a_user_is_removed_and_no_recovery_brings_it_back(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(partitions=2), tmp_path / "archive"
    train_small(
        markov_shoppers(sessions=60, items=60, seed=3), Registry(settings.registry_dir), network="pop"
    )
    send(settings, 0)
    archive_all(settings, folder)
    with worker(settings, tmp_path) as process:
        process.wait_until(all_committed(settings), "the events")
        arguments = ["forget", "--user", "ann", "--archive", str(folder), "--wait", "120", "--json"]
        first = CliRunner().invoke(nextclick.app, arguments, env=settings.environment())
        receipt = json.loads(first.stdout)
        # The archive is without the events so far, and has not come to the forgetting: it says so.
        assert (first.exit_code, receipt["complete"]) == (1, False)
        assert receipt["sessions"].keys() == {"anns-first", "anns-second"}
        assert receipt["workers"] == {"group": settings.group_id, "obeyed": 2, "waiting": []}
        assert receipt["archive"]["removed_records"] == 6
        assert receipt["archive"]["behind"] == ["anns-first", "anns-second"]
        archive_all(settings, folder)
        second = CliRunner().invoke(nextclick.app, arguments, env=settings.environment())
        again = json.loads(second.stdout)
        assert (second.exit_code, again["complete"]) == (0, True)
        assert again["sessions"] == receipt["sessions"], "what is said is not said again"
        assert again["archive"]["behind"] == []
        stop(process)
    items = [r for kept in archived(folder).values() for r in kept if b"item_id" in (r.value or b"")]
    assert {record.key for record in items} == {b"bobs", b"nobodys"}
    assert stored(settings) == {"bobs", "nobodys"}
    newest = {shown.recommendation.session_id: shown for shown in all_lists(settings)}
    for session in SESSIONS:
        is_forgotten = session.startswith("anns")
        assert (newest[session].recommendation.items == []) == is_forgotten
        assert (newest[session].headers.get("fallback") == "forget") == is_forgotten
        found, _ = session_in_log(
            settings, SessionRule(1_800.0), (), session, partition_of(session, settings.partitions)
        )
        assert (found is None) == is_forgotten

    shutil.rmtree(settings.state_dir)
    with worker(settings, tmp_path) as process:
        process.wait_until(lambda s: s["ready"] and s["partitions"] == [0, 1], "the recovery")
        stop(process)
    assert stored(settings) == {"bobs", "nobodys"}, "the log was read again, the forgetting with it"


def sessions_in_both(name: str, each: int = 1) -> list[str]:
    """Ids of sessions, so many in each of two partitions."""
    ids = [f"{name}-{number}" for number in range(100)]
    return [one for number in (0, 1) for one in [i for i in ids if partition_of(i, 2) == number][:each]]


ANNS, BOBS = sessions_in_both("ann"), sessions_in_both("bob")
# A session of Ann's whose lists have no outcome yet when she is forgotten.
ANNS_OPEN = "ann-open"
# So many that event time goes on by what they say.
LATER = sessions_in_both("clock", 8)
STEPS: tuple[Kind, ...] = ("view", "view", "cart", "purchase")


@pytest.fixture
def shop(make_settings: MakeSettings, tmp_path: Path) -> Iterator[Settings]:
    """Settings with all topics, a published placement and purchases that are kept."""
    rules = tmp_path / "rules.toml"
    rules.write_text("[session]\nbought_days = 2\n[placement.basket]\npublished = true\nlength = 5\n")
    made = make_settings(partitions=2, rules=rules)
    made = made.model_copy(
        update={"outcomes_topic": f"{made.events_topic}-outcomes", "outcomes_within_s": 600.0}
    )
    made.model_fields_set.update(("outcomes_topic", "outcomes_within_s"))
    ensure_topics(made, optional=True)
    yield made
    admin = AdminClient(made.kafka_config())
    more = [made.items_topic, made.placements_topic, made.purchases_topic, made.outcomes_topic]
    for future in admin.delete_topics(more).values():
        future.result(timeout=120)


def tell(settings: Settings, at_s: int, session: str, items: list[str], bought: str) -> None:
    """A session's steps, a second apart, the last of which is a purchase."""
    producer, user = Producer(settings.producer_config()), session.partition("-")[0]
    for number, kind in enumerate(STEPS):
        at_ms = START_MS + 1_000 * (at_s + number)
        item = bought if kind == "purchase" else items[number]
        event = Event(session, at_ms, item, kind, user_id=user, price=2.0)
        producer.produce(settings.events_topic, encode_event(event), session.encode(), timestamp=at_ms)
    assert producer.flush(120) == 0


def outcomes_of(settings: Settings) -> list[Outcome]:
    records = committed(settings, settings.outcomes_topic, settings.partitions)
    return [decode_outcome(record.value()) for record in records]


def newest_placements(settings: Settings) -> dict[str, list[str]]:
    """The items of each session's newest list of the published placement."""
    found: dict[str, list[str]] = {}
    with TopicReader(settings, settings.placements_topic) as topic:
        for number, (first, end) in enumerate(topic.bounds()):
            for messages in topic.read(number, first, end):
                for message in messages:
                    shown = json.loads(message.value() or b"{}")
                    found[shown["session_id"]] = shown["items"]
    return found


def run(settings: Settings, *arguments: str, code: int = 0) -> Any:
    ended = CliRunner().invoke(nextclick.app, [*arguments, "--json"], env=settings.environment())
    assert ended.exit_code == code, (ended.output, ended.exception)
    return json.loads(ended.stdout)


def test_what_came_of_a_user_s_lists_is_removed_or_accounted_for_wherever_it_is(
    shop: Settings, tmp_path: Path
) -> None:
    archive, exported = tmp_path / "archive", tmp_path / "outcomes"
    registry = Registry(shop.registry_dir)
    train_small(markov_shoppers(sessions=60, items=60, seed=3), registry, network="pop")
    vocabulary = registry.load().vocabulary
    # Popular ones, which every list has.
    items = vocabulary.decode(vocabulary.top(6))
    forget = ["forget", "--user", "ann", "--archive", str(archive), "--outcomes", str(exported)]
    record = ["outcomes", "--until-end"]
    with worker(shop, tmp_path) as process:
        for session, bought in zip(ANNS + BOBS, items[3:5] * 2, strict=True):
            tell(shop, 0, session, items, bought)
        # Time passes in both partitions: what came of the first lists is known.
        for session in [*LATER, ANNS_OPEN]:
            tell(shop, 18_000, session, items, items[5])
        process.wait_until(all_committed(shop), "the events", timeout_s=300)
        run(shop, *record)
        of_session = Counter(one.session_id for one in outcomes_of(shop))
        assert [of_session[one] for one in (*ANNS, *BOBS, ANNS_OPEN)] == [*[len(STEPS)] * 4, 0]
        run(shop, "experiment", "export", str(exported))
        archive_all(shop, archive)
        taken = Counter((one.session_id, each.kind) for one in outcomes_of(shop) for each in one.taken)
        # Of each list before it.
        assert {(taken[one, "cart"], taken[one, "purchase"]) for one in ANNS + BOBS} == {(2, 3)}

        first = run(shop, *forget, "--wait", "120", code=1)
        everything = sorted([*ANNS, ANNS_OPEN])
        assert sorted(first["sessions"]) == everything
        assert (first["workers"]["obeyed"], first["workers"]["waiting"]) == (3, [])
        assert first["purchases"]["removed"] == 3, "an item in each session"
        assert first["archive"]["removed_records"] == 3 * len(STEPS)
        assert first["outcomes"]["removed_lists"] == 2 * len(STEPS)
        in_topic = first["outcomes_topic"]
        assert (in_topic["lists"], in_topic["sessions"]) == (2 * len(STEPS), sorted(ANNS))
        # The recorder and the archive have not come to the forgetting: the receipt is not complete.
        for where in ("archive", "outcomes", "outcomes_topic"):
            assert sorted(first[where]["behind"]) == everything
        assert first["complete"] is False

        # The time of her open session's lists is over, too.
        for session in LATER:
            tell(shop, 36_000, session, items, items[5])
        process.wait_until(all_committed(shop), "the later events", timeout_s=300)
        recorded = run(shop, *record)
        # Those of her open session, and the lists without items by which all three end.
        assert recorded["left_out"]["forgotten"] == len(STEPS) + 3
        archive_all(shop, archive)
        again = run(shop, *forget, "--wait", "120")
        stop(process)

    assert again["complete"] is True and again["sessions"] == first["sessions"]
    assert (again["archive"]["removed_records"], again["outcomes"]["removed_lists"]) == (0, 0)
    assert again["archive"]["behind"] == again["outcomes"]["behind"] == []
    # What the receipt says of the topics is what is there.
    there = outcomes_of(shop)
    hers = [one for one in there if one.session_id.startswith("ann")]
    assert (again["outcomes_topic"]["lists"], again["outcomes_topic"]["behind"]) == (len(hers), [])
    assert {one.session_id for one in hers} == set(again["outcomes_topic"]["sessions"]) == set(ANNS)
    assert again["outcomes_topic"]["until"] in again["kept"][shop.outcomes_topic]
    topics = {shop.events_topic, shop.recommendations_topic, shop.placements_topic, shop.dlq_topic}
    assert again["kept"].keys() == topics | {shop.outcomes_topic, "models", "stores"}

    # And what it says to be removed is gone, of her alone.
    run(shop, "experiment", "export", str(exported))
    kept = pq.read_table(exported, columns=["session_id"])["session_id"].to_pylist()
    assert Counter(name for name in kept if name in BOBS) == dict.fromkeys(BOBS, len(STEPS))
    assert not any(name.startswith("ann") for name in kept)
    values = [r.value or b"" for rows in archived(archive).values() for r in rows]
    assert not any(b'"ann' in value for value in values if b"item_id" in value)
    shown = {one.recommendation.session_id: one.recommendation.items for one in all_lists(shop)}
    placed = newest_placements(shop)
    for session in everything:
        assert shown[session] == placed[session] == []
        assert session_in_store(shop, session, partition_of(session, 2)) is None
    assert all(shown[session] and placed[session] for session in BOBS)
    catalogue = Catalogue()
    CatalogueSources(shop, catalogue).load()
    assert catalogue.purchases.since("ann", START_MS) == []
    assert sorted(catalogue.purchases.since("bob", START_MS)) == sorted(items[3:5])
