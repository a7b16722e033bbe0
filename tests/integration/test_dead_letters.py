"""Dead letters of a real worker: shown, corrected, and sent again, none of them twice."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.dead_letters.replay_letters import LetterReport, replay_letters
from replay.dead_letters.replayed import ReplayedLetters
from stream.events import Event, encode_event
from stream.kafka.dead_letter_reader import letters
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.commands import run, run_json
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, events_by_id, served, stop, worker

pytestmark = pytest.mark.kafka

START_MS = 1_700_000_000_000
GOOD = encode_event(Event("s", START_MS, "i1"))
FUTURE_MS = 4_000_000_000_000


def send(settings: Settings, topic: str, rows: list[tuple[bytes | None, bytes, dict[str, Any]]]) -> None:
    producer = Producer(settings.producer_config())
    for value, key, more in rows:
        producer.produce(topic, value, key, **more)
    assert producer.flush(20) == 0


def reject(settings: Settings, rows: list[tuple[bytes, bytes, str, int]]) -> None:
    """Write letters as the sink writes them: value, key, reason, offset of its origin."""
    send(
        settings,
        settings.dlq_topic,
        [
            (
                value,
                key,
                {
                    "headers": [
                        ("reason", reason.encode()),
                        ("topic", settings.events_topic.encode()),
                        ("partition", b"0"),
                        ("offset", b"%d" % offset),
                    ]
                },
            )
            for value, key, reason, offset in rows
        ],
    )


def as_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)


def test_rejected_events_come_back_to_the_worker_once_they_can_be_read(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(partitions=1)
    as_environment(settings, monkeypatch)
    train_small(shoppers, Registry(settings.registry_dir))
    hostile = b'{"session_id":"s","event_time_ms":"\x1b[2J","x":"<script>"}'
    send(
        settings,
        settings.events_topic,
        [
            (GOOD, b"s", {}),
            (encode_event(Event("s", FUTURE_MS, "i2")), b"s", {}),
            (hostile, b"s", {}),
            (encode_event(Event("s", START_MS + 1, "i3")), b"other", {}),
        ],
    )
    with worker(settings, tmp_path) as process:
        process.wait_until(served(4), "all records")
        shown = run_json("dlq", "show")
        assert shown["counts"] == {"future": 1, "not_json": 1, "key_mismatch": 1}
        # What is not JSON's has been escaped twice over: by us and by JSON.
        assert "\\x1b[2J" in shown["letters"][1]["value"]
        assert [row["origin"] for row in shown["letters"]] == [
            f"{settings.events_topic}-0-{offset}" for offset in (1, 2, 3)
        ]
        human = run("dlq", "show", "--reason", "not_json").stdout
        assert "\x1b" not in human and "\\x1b[2J" in human and "not_json: 1, of which 1 not replayed" in human
        assert run_json("dlq", "replay")["still_bad"] == shown["counts"]
        # The time and the key are corrected; the third stays as it is.
        rows = {row["reason"]: row for row in shown["letters"]}
        rows["future"]["value"] = rows["future"]["value"].replace(str(FUTURE_MS), str(START_MS + 2))
        rows["key_mismatch"]["key"] = "s"
        file = tmp_path / "letters.json"
        file.write_text(json.dumps(shown))
        dry = run_json("dlq", "replay", "--corrected", file, "--dry-run")
        assert (dry["sent"], dry["still_bad"]) == (2, {"not_json": 1})
        sent = run_json("dlq", "replay", "--corrected", file)
        assert (sent["sent"], sent["done_before"]) == (2, 0)
        again = run_json("dlq", "replay", "--corrected", file)
        assert (again["sent"], again["done_before"]) == (0, 2)
        process.wait_until(served(6), "the corrected events")
        status = stop(process)
    assert status["accounting"]["stepped"] == 3
    assert status["accounting"]["dead_lettered"] == 3
    events = events_by_id(settings)
    assert [(e.item_id, e.event_time_ms) for e in events.values()][-2:] == [
        ("i2", START_MS + 2),
        ("i3", START_MS + 1),
    ]
    assert [row["done"] for row in run_json("dlq", "show")["letters"]] == [True, False, True]


def replayable(settings: Settings, count: int, repeat: int = 0) -> list[str]:
    """Letters that can be read by now, `repeat` of which stand twice; → their items."""
    rows = []
    for n in range(count):
        value = encode_event(Event(f"s{n % 5}", START_MS + n, f"i{n}"))
        rows.append((value, f"s{n % 5}".encode(), "future", n))
    reject(settings, rows + rows[:repeat])
    return [f"i{n}" for n in range(count)]


def items_in(settings: Settings) -> Counter[str]:
    return Counter(event.item_id for event in events_by_id(settings).values())


def test_a_letter_that_stands_twice_and_one_of_another_reason_are_not_sent(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    items = replayable(settings, 6, repeat=2)
    reject(settings, [(GOOD, b"s", "schema", 77), (b"x", b"s", "not_json", 78)])
    assert replay_letters(settings, reasons=["future"]) == LetterReport(sent=6, repeated=2)
    assert items_in(settings) == Counter(items)
    assert replay_letters(settings, reasons=["future"]) == LetterReport(done_before=8)
    # What was filtered out is not forgotten, and what was given up is never tried again.
    report = replay_letters(settings, give_up=True)
    assert (report.sent, report.given_up, report.still_bad) == (1, 1, Counter(not_json=1))
    assert replay_letters(settings) == LetterReport(done_before=10)
    assert items_in(settings) == Counter([*items, "i1"])
    reject(settings, [(GOOD, b"s", "schema", 79)])
    assert replay_letters(settings).sent == 1


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_replay_that_dies_between_sending_and_remembering_sends_nothing_twice(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    monkeypatch.setattr("replay.dead_letters.replay_letters.BATCH_LETTERS", 4)
    settings = make_settings()
    items = replayable(settings, 10)
    saves = 0
    save = ReplayedLetters.save

    def dying(memory: ReplayedLetters) -> None:
        nonlocal saves
        if saves == dies_at:
            raise RuntimeError("killed")
        saves += 1
        save(memory)

    monkeypatch.setattr(ReplayedLetters, "save", dying)
    with pytest.raises(RuntimeError, match="killed"):
        replay_letters(settings)
    assert sum(items_in(settings).values()) == min(4 * dies_at, 10)
    monkeypatch.setattr(ReplayedLetters, "save", save)
    assert replay_letters(settings).sent == 10 - min(4 * dies_at, 10)
    assert items_in(settings) == Counter(items)
    assert replay_letters(settings) == LetterReport(done_before=10)


def test_more_gaps_than_can_be_remembered_are_an_error_before_anything_is_sent(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.dead_letters.replayed.MAX_METADATA_BYTES", 20)
    settings = make_settings()
    replayable(settings, 40)
    with pytest.raises(NextclickError, match="too many to remember"):
        replay_letters(settings)
    assert not items_in(settings)


def test_what_is_no_file_of_letters_sends_nothing(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = make_settings()
    as_environment(settings, monkeypatch)
    replayable(settings, 1)
    file = tmp_path / "letters.json"
    file.write_text('{"letters": [{"partition": 0}]}')
    failed = run("dlq", "replay", "--corrected", file)
    assert isinstance(failed.exception, NextclickError)
    assert "has no corrected letters" in failed.exception.what
    assert run("dlq", "replay", "--reason", "nonsense").exit_code == 2
    assert not items_in(settings)
    assert len(list(letters(settings))) == 1
