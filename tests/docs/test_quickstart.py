"""What the quickstart shows is so: its JSON is what the topics have, its program follows real lists."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from stream.events import decode_event, encode_recommendation
from stream.kafka.topics import plans
from tests.conftest import ROOT, settings_of_its_own
from tests.harness.pages import Page

PAGE = Page(ROOT / "deploy" / "docs" / "quickstart.md")
DEADLINE_S = 240


def test_the_json_is_what_the_topics_and_the_web_have() -> None:
    answer, event, shown = (json.loads(block) for block in PAGE.blocks("json"))
    assert answer["list"]["event_id"] == answer["event_id"]
    assert decode_event(json.dumps(event).encode()).kind == "purchase"
    assert shown["session_id"] == event["session_id"]
    assert shown["event_time_ms"] == event["event_time_ms"]


def test_the_program_is_short() -> None:
    (program,) = PAGE.blocks("python")
    assert len([line for line in program.splitlines() if line]) <= 10


@pytest.mark.kafka
def test_the_program_follows_the_lists(kafka: str, tmp_path: Path) -> None:
    settings = settings_of_its_own(kafka, tmp_path)
    (program,) = PAGE.blocks("python")
    for shown, real in (
        ("127.0.0.1:9092", kafka),
        ('"recommendations"', repr(settings.recommendations_topic)),
        ('"shop"', repr(f"{settings.group_id}-shop")),
    ):
        assert shown in program
        program = program.replace(shown, real)
    items = [f"i{number}" for number in range(20)]
    producer = Producer(settings.producer_config())
    for number in range(3):
        scores = np.arange(20, 0, -1, dtype=np.float32)
        value = encode_recommendation(f"s{number}", f"0-{number}", 1_700_000_000_000, "v", items, scores)
        producer.produce(settings.recommendations_topic, value, f"s{number}".encode())
    assert producer.flush(120) == 0
    output = tmp_path / "output.txt"
    with output.open("wb") as lines:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=lines)
        try:
            deadline = time.monotonic() + DEADLINE_S
            while output.read_text().count("\n") < 3 and process.poll() is None:
                assert time.monotonic() < deadline, "no lists came"
                time.sleep(0.1)
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()
    assert sorted(output.read_text().splitlines()) == [
        f"s{number} 0-{number} ['i0', 'i1', 'i2']" for number in range(3)
    ]
    admin = AdminClient(settings.kafka_config())
    for future in admin.delete_topics([plan.name for plan in plans(settings)]).values():
        future.result(timeout=120)
