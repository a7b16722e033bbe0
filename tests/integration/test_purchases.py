"""What a user bought is left out of all the user's sessions, after a lost disk, too, and until forgotten."""

import json
import shutil
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

import nextclick
from model.errors import NextclickError
from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.sources import CatalogueSources
from stream.events import Event, Kind, encode_event
from stream.kafka.partitioner import partition_of
from stream.kafka.topics import ensure_topics
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import MakeSettings, all_committed, all_lists, stop, worker

pytestmark = pytest.mark.kafka
START_MS = 1_700_000_000_000
PATIENCE_S = 300


def session_in(partition: int, name: str) -> str:
    """A session id that lies in a partition of two."""
    return next(s for s in (f"{name}-{n}" for n in range(100)) if partition_of(s, 2) == partition)


def send(settings: Settings, process: WorkerProcess, at_s: int, *events: tuple[str, str, str, Kind]) -> None:
    """Events of session, user, item and kind; the worker has stepped them when this returns."""
    producer = Producer(settings.producer_config())
    for session, user, item, kind in events:
        event = Event(session, START_MS + 1_000 * at_s, item, kind, user)
        producer.produce(settings.events_topic, encode_event(event), session.encode())
    assert producer.flush(120) == 0
    process.wait_until(all_committed(settings), "the events", PATIENCE_S)


def newest(settings: Settings, session: str) -> list[str]:
    lists = [shown.recommendation for shown in all_lists(settings)]
    return [shown.items for shown in lists if shown.session_id == session][-1]


def test_what_a_user_bought_is_left_out_of_other_partitions_after_a_lost_disk_and_until_it_is_forgotten(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[session]\nseen = false\nbought_days = 2\n")
    settings = make_settings(partitions=2, rules=rules)
    with pytest.raises(NextclickError, match="need what users bought, and no topic keeps it"):
        CatalogueSources(settings, Catalogue()).load()
    ensure_topics(settings, optional=True)
    train_small(
        markov_shoppers(sessions=60, items=60, seed=3), Registry(settings.registry_dir), network="pop"
    )
    with worker(settings, tmp_path) as process:
        send(settings, process, 0, (session_in(0, "bob"), "bob", "i1", "view"))
        bought = newest(settings, session_in(0, "bob"))[0]
        send(settings, process, 1, (session_in(0, "first"), "ann", bought, "purchase"))
        process.wait_until(lambda status: status["purchases"]["users"] == 1, "the purchase", PATIENCE_S)
        send(settings, process, 2, (session_in(1, "second"), "ann", "i1", "view"))
        assert bought not in newest(settings, session_in(0, "first"))
        assert bought not in newest(settings, session_in(1, "second"))
        stop(process)
    shutil.rmtree(settings.state_dir)
    with worker(settings, tmp_path) as process:
        bobs, anns = session_in(1, "bobs-second"), session_in(1, "third")
        send(settings, process, 3, (bobs, "bob", "i1", "view"), (anns, "ann", "i1", "view"))
        assert bought not in newest(settings, anns)
        assert bought in newest(settings, bobs)
        arguments = ["forget", "--user", "ann", "--wait", str(PATIENCE_S), "--json"]
        forgotten = CliRunner().invoke(nextclick.app, arguments, env=settings.environment())
        receipt = json.loads(forgotten.stdout)
        assert (forgotten.exit_code, receipt["purchases"]) == (0, {"removed": 1})
        process.wait_until(lambda status: status["purchases"]["users"] == 0, "the forgetting", PATIENCE_S)
        send(settings, process, 4, (session_in(1, "fourth"), "ann", "i1", "view"))
        assert bought in newest(settings, session_in(1, "fourth"))
        stop(process)
