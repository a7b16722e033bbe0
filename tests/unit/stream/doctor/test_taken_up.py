"""What workers answer, here those of a group that has none."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model.errors import NextclickError
from stream.doctor.taken_up import WorkerVersion, wait_until_served
from stream.kafka.group_members import GroupMember
from stream.settings import Settings

A, B = GroupMember("a", "h:1", (0,)), GroupMember("b", "h:2", (1,))


class Clock:
    """A clock that moves by what is slept."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def status(worker: str, model: str | None, *refused: str) -> dict[str, Any]:
    return {
        "worker_id": worker,
        "model": model,
        "refused_versions": [{"reason": "corrupt", "error": error} for error in refused],
    }


def test_it_waits_until_every_worker_that_is_in_the_group_by_then_serves_the_version() -> None:
    clock, groups = Clock(), [[A], [A, B], [A, B]]

    def ask(member: GroupMember) -> Mapping[str, Any]:
        return status(member.worker_id, "new" if clock.now >= (1 if member is A else 2) else "old")

    def members() -> list[GroupMember]:
        return groups.pop(0) if len(groups) > 1 else groups[0]

    found = wait_until_served(
        Settings(), "new", 60, members=members, ask=ask, now_s=lambda: clock.now, sleep=clock.sleep
    )
    assert found == [WorkerVersion("a", "h:1", "new"), WorkerVersion("b", "h:2", "new")]
    assert clock.now == 2


def test_after_the_timeout_it_says_what_each_serves_or_why_that_is_not_known() -> None:
    clock = Clock()
    nameless, stranger = GroupMember("c", "", ()), GroupMember("d", "h:4", ())
    answers = {
        "a": status("a", "old", "first", "weights do not match"),
        "d": status("another", "new"),
        "e": {"models": ["new"]},
        "f": {"model": "old", "refused_versions": []},
    }

    def ask(member: GroupMember) -> Mapping[str, Any]:
        if member is B:
            raise ConnectionRefusedError("refused")
        return answers[member.worker_id]

    other, before = GroupMember("e", "h:5", ()), GroupMember("f", "h:6", ())
    found = wait_until_served(
        Settings(),
        "new",
        3,
        members=lambda: [A, B, nameless, stranger, other, before],
        ask=ask,
        now_s=lambda: clock.now,
        sleep=clock.sleep,
    )
    assert [one.serves for one in found] == ["old", None, None, None, None, "old"]
    assert [one.problem for one in found] == [
        "its newest refusal: weights do not match",
        "does not answer: refused",
        "its client id has no address",
        "there answers another instead",
        "answers with no status of a worker",
        "",
    ]
    assert clock.now >= 3


@contextmanager
def serving(code: int, body: object, hosts: list[str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts.append(self.headers["Host"])
            hosts.append(self.headers["Authorization"].partition(" ")[0])
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_workers_are_asked_over_http_with_a_token_by_the_name_they_answer_to(tmp_path: Path) -> None:
    hosts: list[str] = []
    keys = tmp_path / "keys"
    keys.write_text("k" * 64)
    settings = Settings(web_allowed_hosts="shop.example, other.example", web_keys_file=keys)
    with serving(200, status("a", "new"), hosts) as address:
        (found,) = wait_until_served(settings, "new", 0, members=lambda: [GroupMember("a", address, ())])
    assert (found.serves, hosts) == ("new", ["shop.example", "Bearer"])
    with serving(421, {}, hosts) as address:
        (found,) = wait_until_served(settings, "new", 0, members=lambda: [GroupMember("a", address, ())])
    assert (found.serves, found.problem) == (None, "answers HTTP 421")


def test_brokers_that_do_not_answer_leave_it_unknown_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.doctor.taken_up.ANSWER_TIMEOUT_S", 0.1)
    with pytest.raises(NextclickError, match="could not be asked for its workers") as raised:
        wait_until_served(Settings(bootstrap_servers="127.0.0.1:9"), "new", 0)
    assert "The version is announced" in raised.value.meaning
