"""The programs that keep lists elsewhere: in Redis, and at an address over HTTP; killed and started again."""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from replay.end_to_end.worker_process import free_port
from stream.events import encode_recommendation
from stream.kafka.partitioner import partition_of
from stream.kafka.topics import plans
from stream.settings import Settings
from tests.conftest import ROOT, settings_of_its_own

PROGRAMS = ROOT / "deploy" / "consumers" / "python"
DEADLINE_S = 180
SESSIONS = [f"s{number}" for number in range(12)]


def program(name: str) -> Any:
    """A program of deploy/consumers as a module."""
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not happen in {DEADLINE_S} s"
        time.sleep(0.05)


def a_list(session: str, event_id: str, items: list[str] | None = None) -> bytes:
    items = [f"i{event_id}", "i1"] if items is None else items
    scores = np.arange(len(items), 0, -1, dtype=np.float32)
    return encode_recommendation(session, event_id, 1_700_000_000_000, "v1", items, scores)


@pytest.fixture
def settings(kafka: str, tmp_path: Path) -> Iterator[Settings]:
    settings = settings_of_its_own(kafka, tmp_path)
    yield settings
    admin = AdminClient(settings.kafka_config())
    for future in admin.delete_topics([plan.name for plan in plans(settings)]).values():
        future.result(timeout=120)


def publish(settings: Settings, lists: list[tuple[str, bytes]]) -> None:
    producer = Producer(settings.producer_config())
    for session, value in lists:
        number = partition_of(session, settings.partitions)
        producer.produce(
            settings.recommendations_topic, value, session.encode(), number, headers=[("model", b"v1")]
        )
    assert producer.flush(120) == 0


def lists_of(count: int, first: int = 0) -> list[tuple[str, bytes]]:
    """Lists of sessions in turn, with repeats of older ones between them, as restarts make them."""
    chance, made = random.Random(first), []
    for offset in range(first, first + count):
        session = SESSIONS[offset % len(SESSIONS)]
        made.append((session, a_list(session, f"{partition_of(session, 2)}-{offset}")))
        if chance.random() < 0.3:
            made.append(made[chance.randrange(len(made))])
    return made


def newest_of(lists: list[tuple[str, bytes]]) -> dict[str, bytes]:
    newest: dict[str, tuple[int, bytes]] = {}
    for session, value in lists:
        place = int(json.loads(value)["event_id"].split("-")[1])
        if place >= newest.get(session, (-1, b""))[0]:
            newest[session] = (place, value)
    return {session: value for session, (_, value) in newest.items()}


def all_read(settings: Settings, group: str) -> bool:
    consumer = Consumer({**settings.kafka_config(), "group.id": group})
    try:
        places = [TopicPartition(settings.recommendations_topic, n) for n in range(settings.partitions)]
        ends = [consumer.get_watermark_offsets(place, timeout=60)[1] for place in places]
        return [place.offset for place in consumer.committed(places, timeout=60)] == ends
    finally:
        consumer.close()


@contextmanager
def running(name: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(PROGRAMS / f"{name}.py"), *map(str, arguments)]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[str, redis.Redis]]:
    """A Redis with nothing in it, and its address."""
    port = free_port()
    command = [
        "redis-server",
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(tmp_path),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    client = redis.Redis.from_url(url)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    try:
        wait_for(answers, "an answer of Redis")
        yield url, client
    finally:
        client.close()
        process.kill()
        process.wait()


def kept(client: Any) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for key in client.keys("nextclick:list:*"):
        value = client.hget(key, "list")
        if value is not None:
            found[key.decode().removeprefix("nextclick:list:")] = value
    return found


@pytest.mark.redis
def test_a_list_is_kept_where_it_is_newer_than_the_one_before(store: tuple[str, redis.Redis]) -> None:
    url, client = store
    lists = program("redis_lists").NewestLists(url, "topic-1", 1_000)
    assert lists.keep([a_list("s", "1-9"), a_list("s", "1-10"), a_list("s", "1-9"), a_list("s", "1-10")]) == (
        2,
        0,
    )
    assert json.loads(kept(client)["s"])["event_id"] == "1-10"
    assert 0 < client.ttl("nextclick:list:s") <= 1_000
    assert lists.keep([b"\xff", b"[]", b'{"session_id":"s"}', a_list("t", "0-1")]) == (1, 3)
    assert lists.keep([a_list("s", "1-11", [])]) == (1, 0)
    assert lists.keep([a_list("s", "1-10")]) == (0, 0), "nothing of a forgotten session comes back"
    assert kept(client).keys() == {"t"}
    assert lists.keep([a_list("s", "1-12")]) == (1, 0)
    anew = program("redis_lists").NewestLists(url, "topic-2", 1_000)
    assert anew.keep([a_list("s", "1-0")]) == (1, 0), "the topic was made anew, its offsets are others"
    assert json.loads(kept(client)["s"])["event_id"] == "1-0"


@pytest.mark.kafka
@pytest.mark.redis
def test_redis_has_the_newest_list_of_each_session_though_the_program_is_killed(
    settings: Settings, store: tuple[str, redis.Redis]
) -> None:
    url, client = store
    group = f"{settings.group_id}-shop"
    arguments = (
        settings.bootstrap_servers, settings.recommendations_topic, group, url, 3_600, settings.events_topic,
    )  # fmt: skip
    first, second = lists_of(300), lists_of(300, first=300)
    publish(settings, first)
    with running("redis_lists", *arguments) as process:
        wait_for(lambda: bool(kept(client)) or process.poll() is not None, "a list in Redis")
        process.send_signal(signal.SIGKILL)
        process.wait()
    forgotten = SESSIONS[0]
    place = f"{partition_of(forgotten, 2)}-600"
    publish(settings, [*second, (forgotten, a_list(forgotten, place, [])), *second[:20]])
    with running("redis_lists", *arguments) as process:
        wait_for(lambda: all_read(settings, group), "all lists")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    expected = newest_of([*first, *second])
    del expected[forgotten]
    assert kept(client) == expected
    # A group that reads everything once more changes nothing.
    again = (*arguments[:2], f"{group}-again", *arguments[3:])
    with running("redis_lists", *again):
        wait_for(lambda: all_read(settings, f"{group}-again"), "all lists once more")
    assert kept(client) == expected
    assert client.hget(f"nextclick:list:{forgotten}", "offset") == b"600"


class Receiver(ThreadingHTTPServer):
    """Takes what is posted; the answer to each post is `answer(session, posts so far of its list)`."""

    def __init__(self, answer: Callable[[str, int], int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.posted: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.received: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/lists"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        shown = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.posted.append((shown, dict(self.headers)))
            before = sum(one["event_id"] == shown["event_id"] for one, _ in self.server.posted) - 1
            status = self.server.answer(shown["session_id"], before)
            if status < 300:
                self.server.received.append(shown)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """A page that answers everybody, as the one behind a login does."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def receiving(answer: Callable[[str, int], int]) -> Iterator[Receiver]:
    with Receiver(answer) as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def test_a_list_is_posted_again_until_it_is_received_and_what_is_refused_is_a_dead_letter(
    tmp_path: Path,
) -> None:
    def answer(session: str, before: int) -> int:
        codes = {"twice": 503 if before < 2 else 204, "refused": 422, "down": 500, "moved": 302}
        return codes.get(session, 200)

    module, letters = program("webhook_lists"), tmp_path / "dead.jsonl"
    with receiving(answer) as receiver:
        webhook = module.Webhook(receiver.url, letters, first_wait_s=0.001)
        records = [
            (a_list("twice", "0-1"), {}), (a_list("refused", "0-2"), {}), (b"no JSON", {}),
            (a_list("good", "0-4"), {"model": b"v1", "fallback": b"lag"}), (a_list("good", "0-3"), {}),
            (a_list("down", "0-5"), {}), (a_list("moved", "0-6"), {}),
        ]  # fmt: skip
        webhook.post_all(records)
        received = sorted(one["event_id"] for one in receiver.received)
        headers = next(headers for one, headers in receiver.posted if one["session_id"] == "good")
    assert received == ["0-1", "0-4"], "of what waits, the newest list of each session"
    assert (headers["Idempotency-Key"], headers["Nextclick-Model"]) == ("0-4", "v1")
    assert headers["Nextclick-Fallback"] == "lag"
    assert webhook.counts() == {"delivered": 2, "tried_again": 2 + module.ATTEMPTS - 1, "dead": 4}
    dead = [json.loads(line) for line in letters.read_text().splitlines()]
    reasons = [one["reason"].split(":")[0].split(",")[0] for one in dead]
    assert reasons == ["no list", "HTTP 422", "HTTP 500", "HTTP 302"]
    assert json.loads(dead[1]["list"])["session_id"] == "refused"
    nobody = module.Webhook("http://127.0.0.1:1/", letters, first_wait_s=0.001)
    nobody.post_all([(a_list("s", "0-1"), {})])
    assert nobody.counts()["dead"] == 1, "no answer is no receipt"


@pytest.mark.kafka
def test_every_session_s_newest_list_is_received_though_the_program_is_killed(
    settings: Settings, tmp_path: Path
) -> None:
    group, letters = f"{settings.group_id}-hook", tmp_path / "dead.jsonl"
    first, second = lists_of(150), lists_of(60, first=150)
    publish(settings, first)
    with receiving(lambda session, before: 200) as receiver:
        arguments = (settings.bootstrap_servers, settings.recommendations_topic, group, receiver.url, letters)
        with running("webhook_lists", *arguments) as process:
            wait_for(lambda: bool(receiver.received) or process.poll() is not None, "a list at the receiver")
            process.send_signal(signal.SIGKILL)
            process.wait()
        publish(settings, second)
        with running("webhook_lists", *arguments) as process:
            wait_for(lambda: all_read(settings, group), "all lists")
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        received = {(one["session_id"], one["event_id"]) for one in receiver.received}
    newest = newest_of([*first, *second])
    assert {(session, json.loads(value)["event_id"]) for session, value in newest.items()} <= received
    assert not letters.exists()
