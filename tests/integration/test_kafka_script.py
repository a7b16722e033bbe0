import os
import socket
import subprocess
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.conftest import ROOT, kafka_sh

pytestmark = pytest.mark.kafka
SCRIPT = ROOT / "deploy" / "kafka.sh"


def test_the_broker_keeps_its_records_over_stop_and_kill(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    assert kafka_sh("status", folder, check=False).returncode == 1
    try:
        address = kafka_sh("start", folder).stdout.strip()
        assert address in kafka_sh("status", folder).stdout
        admin = AdminClient({"bootstrap.servers": address})
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(timeout=120)
        for number, command in enumerate(("stop", "kill")):
            producer = Producer({"bootstrap.servers": address, "acks": "all", "log_level": 0})
            producer.produce("kept", str(number).encode())
            assert producer.flush(20) == 0
            kafka_sh(command, folder)
            assert kafka_sh("status", folder, check=False).returncode == 1
            assert kafka_sh("start", folder).stdout.strip() == address
        consumer = Consumer({"bootstrap.servers": address, "group.id": "reader"})
        consumer.assign([TopicPartition("kept", 0, 0)])
        assert [message.value() for message in consumer.consume(2, timeout=60)] == [b"0", b"1"]
        consumer.close()
    finally:
        kafka_sh("kill", folder)


def test_a_port_that_another_process_listens_on_is_refused(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        ended = subprocess.run(
            [str(SCRIPT), "start", "--dir", str(tmp_path / "kafka"), "--port", port],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert f"port {port} is taken" in ended.stderr
    assert kafka_sh("status", tmp_path / "kafka", check=False).returncode == 1


def test_a_folder_that_is_no_virtual_environment_is_not_cleared(tmp_path: Path) -> None:
    kept = tmp_path / "mine" / "letter.txt"
    kept.parent.mkdir()
    kept.write_text("dear")
    ended = subprocess.run(
        ["bash", "-c", '. deploy/environment.sh && environment "$PWD"'],
        cwd=SCRIPT.parent.parent, env={**os.environ, "NEXTCLICK_VENV": str(kept.parent)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "no virtual environment" in ended.stderr
    assert kept.read_text() == "dear"
