"""A person who is forgotten stays so: in a worker that runs, and in one that recovers from the log."""

import json
import shutil
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

import nextclick
from model.data.session_rule import SessionRule
from model.registry.registry import Registry
from stream.events import Event, encode_event
from stream.kafka.partitioner import partition_of
from stream.sessions.session_in_log import session_in_log
from stream.sessions.session_in_store import session_in_store
from stream.settings import Settings
from tests.conftest import train_small
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
