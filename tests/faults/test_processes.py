"""A worker of two processes: one command that serves everything, through the death of one of them."""

import os
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import (
    MakeSettings,
    all_committed,
    all_lists,
    assert_equal_to_offline,
    by_event,
    stop,
    with_unknown_items,
    worker,
)

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


def two_free_ports() -> int:
    """A free port whose next one is free, too."""
    while True:
        port = free_port()
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def processes(status: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status["processes"]
    return found


def share_all(status: dict[str, Any]) -> bool:
    """Whether both processes are ready and have partitions of their own, all four together."""
    shares = [of["partitions"] or [] for of in processes(status)]
    return (
        bool(status["ready"]) and all(shares) and sorted(n for share in shares for n in share) == [0, 1, 2, 3]
    )


def fetch(process: WorkerProcess, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{process.address}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def test_two_processes_serve_as_one_worker_through_a_kill_of_one(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(
        deterministic=True,
        wave_size=4,
        commit_interval_ms=20,
        partitions=4,
        processes=2,
        web_port=two_free_ports(),
        web_probe_port=two_free_ports(),
    )
    log = markov_shoppers(sessions=400, items=120, seed=3)
    model = train_small(log, Registry(settings.registry_dir))
    frame = with_unknown_items(log.frame)
    half = len(frame) // 2
    with worker(settings, tmp_path) as process:
        status = process.wait_until(share_all, "partitions for both")
        first, second = (of["pid"] for of in processes(status))
        replay_frames(settings, [frame.iloc[:half]])
        process.wait_until(all_committed(settings), "the first half")
        assert min(of["lists"] for of in processes(process.status() or {})) > 0
        os.kill(second, signal.SIGKILL)
        replay_frames(settings, [frame.iloc[half:]])
        status = process.wait_until(
            lambda s: bool(processes(s)[1]["restarts"]) and share_all(s), "process 1 serves again"
        )
        assert processes(status)[0]["pid"] == first, "the other one went on"
        process.wait_until(all_committed(settings), "the second half")
        # Any session is answered at the one port, whichever process has it.
        shown = {item.recommendation.session_id: item.recommendation for item in all_lists(settings)}
        for session_id in list(shown)[-20:]:
            code, text = fetch(process, f"/api/recommendations/{session_id}")
            assert code == 200, text
        assert fetch(process, "/ready")[0] == fetch(process, "/health")[0] == 200
        # The first process asks the other one at its own probe port.
        probes = f"http://127.0.0.1:{settings.web_probe_port}"
        with urllib.request.urlopen(f"{probes}/ready", timeout=60) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{probes}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        by_name = {(s.name, s.labels.get("process")): s.value for s in samples}
        assert by_name["nextclick_process_restarts_total", "1"] == 1
        assert by_name["nextclick_process_up", "0"] == by_name["nextclick_process_up", "1"] == 1
        opened = [s.labels["partition"] for s in samples if s.name == "nextclick_open_sessions"]
        assert sorted(opened) == ["0", "1", "2", "3"], "each partition is one process's"
        code, text = fetch(process, "/api/quality")
        assert code == 200, text
        second = processes(process.status() or {})[1]["pid"]
        stop(process)
    for pid in (first, second):
        assert not Path(f"/proc/{pid}").exists(), "a process has stayed"
    assert_equal_to_offline(settings, model, frame)
    assert by_event(all_lists(settings))
