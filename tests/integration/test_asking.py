"""Two workers of one group: any of them answers for any session, also while one is killed."""

import itertools
import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.catalogue.item_word import ItemWord
from stream.catalogue.items_topic import send_words
from stream.kafka.partitioner import partition_of
from stream.kafka.topics import ensure_topics
from stream.settings import Settings
from tests.conftest import ROOT, settings_of_its_own, train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.pages import Page
from tests.harness.serving import all_committed, all_lists, worker

pytestmark = pytest.mark.kafka
PAGE = Page(ROOT / "deploy" / "docs" / "asking.md")
LOG = markov_shoppers(sessions=40, items=60, seed=5)
PATIENCE_S = 300


@pytest.fixture(scope="module")
def workers(
    kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Settings, WorkerProcess]]]:
    """Two workers that have served the log, each with a partition."""
    folder = tmp_path_factory.mktemp("asking")
    rules = folder / "rules.toml"
    rules.write_text(PAGE.blocks("toml")[0])
    one = settings_of_its_own(
        kafka,
        folder,
        deterministic=True,
        wave_size=8,
        session_timeout_ms=30_000,
        web_requests_per_s=10_000,
        rules=rules,
    )
    ensure_topics(one, optional=True)
    send_words(one, [(f"i{n}", ItemWord(category="home/kitchen")) for n in range(40)])
    other = one.model_copy(
        update={
            "worker_id": f"{one.worker_id}-2",
            "state_dir": folder / "state-2",
            "web_port": free_port(),
        }
    )
    train_small(LOG, Registry(one.registry_dir))
    with worker(one, folder) as first, worker(other, folder) as second:
        for process in (first, second):
            process.wait_until(lambda status: len(status["partitions"]) == 1, "its partition", PATIENCE_S)
        replay_frames(one, [LOG.frame])
        first.wait_until(all_committed(one), "the log", PATIENCE_S)
        yield {one.worker_id: (one, first), other.worker_id: (other, second)}


def ask(address: str, path: str) -> tuple[int, str, dict[str, Any]]:
    """Status, owner and answer."""
    try:
        with urllib.request.urlopen(f"{address}{path}", timeout=60) as answer:
            return answer.status, answer.headers["X-Nextclick-Owner"], json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-Nextclick-Owner"], json.load(error)


def test_any_worker_answers_for_any_session_with_the_published_list_and_after_a_kill_too(
    workers: dict[str, tuple[Settings, WorkerProcess]],
) -> None:
    settings = next(iter(workers.values()))[0]
    published = {
        received.recommendation.session_id: received.recommendation.items for received in all_lists(settings)
    }
    owners = {
        number: name
        for name, (_, process) in workers.items()
        for number in process.wait_until(lambda status: True, "its status", PATIENCE_S)["partitions"]
    }
    assert sorted(owners) == [0, 1]
    asked = 0
    for session_id, items in published.items():
        for _, process in workers.values():
            status, owner, body = ask(process.address, f"/api/recommendations/{session_id}")
            assert (status, owner) == (200, owners[partition_of(session_id, 2)])
            if body["fallback"] is None:
                asked += 1
                assert [row["item_id"] for row in body["items"]] == items
    assert asked > 20

    run_the_examples_of_the_page(workers, next(iter(published)))

    # The other worker is killed: what it was asked before is given again, then the partition is here.
    (name, (_, process)), (killed, (_, other)) = workers.items()
    session_id = next(one for one in published if owners[partition_of(one, 2)] == killed)
    path = f"/api/recommendations/{session_id}"
    before = ask(process.address, path)[2]
    stopping, asked_meanwhile = threading.Event(), Counter[int]()

    def go_on_asking(sessions: list[str]) -> None:
        """Ask for lists of sessions of both partitions, some of them never asked for before."""
        for number in itertools.count():
            if stopping.is_set():
                return
            one = sessions[number % len(sessions)]
            more = f"?k={number % 30 + 1}" if number % 2 else ""
            status, _, body = ask(process.address, f"/api/recommendations/{one}{more}")
            asked_meanwhile[status] += 1
            # All that is said of a partition that moves: the last known list, or 503 in three parts.
            assert status == 200 or (status == 503 and body.keys() == {"error", "meaning", "do"}), body
            assert status == 503 or len(body["items"]) == (number % 30 + 1 if more else 20)

    sessions = list(published)
    pool = ThreadPoolExecutor(4)
    asking = [pool.submit(go_on_asking, sessions[n:] + sessions[:n]) for n in range(4)]
    other.kill()
    status, _, body = ask(process.address, path)
    assert status == 200 and body["items"] == before["items"]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status, owner, body = ask(process.address, path)
        assert status == 200 and body["items"] == before["items"]
        if "stale_s" not in body:
            break
        assert time.monotonic() < deadline, process.log()
    assert owner == name
    stopping.set()
    for one in asking:
        one.result(PATIENCE_S)
    pool.shutdown()
    assert asked_meanwhile[200] and asked_meanwhile.keys() <= {200, 503}


def run_the_examples_of_the_page(workers: dict[str, tuple[Settings, WorkerProcess]], session_id: str) -> None:
    """Every command of the page is answered by every worker."""
    lines = [line for line in PAGE.shell_lines() if line.startswith("curl ")]
    assert len(lines) == 5
    for _, process in workers.values():
        for line in lines:
            words = {"http://127.0.0.1:6066": process.address, "SESSION": session_id, "sku-": "i"}
            for word, here in words.items():
                line = line.replace(word, here)
            ran = subprocess.run(
                ["bash", "-c", line.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert ran.returncode == 0, (line, ran.stdout, ran.stderr)
            assert json.loads(ran.stdout)["items"]


def test_the_page_names_the_fields_of_the_answers(tmp_path: Path) -> None:
    described = (ROOT / "stream" / "web" / "static" / "openapi.json").read_text()
    for field in ("stale_s", "fallback", "item_words", "rules", "why", "by"):
        assert f"`{field}`" in PAGE.text and f'"{field}"' in described
