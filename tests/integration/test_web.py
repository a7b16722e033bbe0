"""The web server of a real worker, asked as nobody should ask."""

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from model.registry.registry import Registry
from stream.settings import Settings
from stream.web.guard import SECURITY_HEADERS
from tests.conftest import settings_of_its_own, train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import worker

pytestmark = pytest.mark.kafka
RATE = 50.0


@pytest.fixture(scope="module")
def served(
    kafka: str, shoppers: SyntheticLog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("web")
    settings = settings_of_its_own(kafka, folder, web_requests_per_s=RATE)
    train_small(shoppers, Registry(settings.registry_dir), network="pop")
    with worker(settings, folder) as process:
        yield settings
        assert process.stop() == 0


def ask(settings: Settings, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", settings.web_port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def raw(settings: Settings, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", settings.web_port), timeout=60) as connection:
        connection.sendall(request)
        return connection.recv(65536)


@pytest.mark.parametrize("path", ["/metrics", "/health", "/ready", "/api/status", "/api/quality"])
def test_every_view_is_read_only_and_has_the_headers(served: Settings, path: str) -> None:
    for method in ("GET", "HEAD"):
        status, headers, body = ask(served, method, path)
        assert (status, bool(body)) == (200, method == "GET")
        assert headers.items() >= SECURITY_HEADERS.items()
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "SEARCH", "CONNECT", "MADE-UP"):
        status, headers, body = ask(served, method, path)
        assert status in (400, 405), method
        assert "error" in json.loads(body)
        assert headers.items() >= SECURITY_HEADERS.items()


def test_lists_are_asked_for_and_candidates_ranked_though_nothing_else_may_be_posted(
    served: Settings,
) -> None:
    status, _, body = ask(served, "GET", "/api/recommendations/nobody?k=5")
    answer = json.loads(body)
    assert (status, answer["fallback"], len(answer["items"])) == (200, "unknown_session", 5)
    best = [row["item_id"] for row in answer["items"]]
    request = json.dumps({"session": "nobody", "candidates": ["no such item", *reversed(best)]}).encode()
    head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(request)}\r\n"
    ranked = raw(served, f"POST /api/rank HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode() + request)
    assert ranked.startswith(b"HTTP/1.1 200")
    rows = json.loads(ranked.partition(b"\r\n\r\n")[2])["items"]
    scores = [row["score"] for row in rows[:-1]]
    assert scores == sorted(scores, reverse=True) == [row["score"] for row in answer["items"]]
    assert {row["item_id"] for row in rows[:-1]} == set(best)
    assert (rows[-1]["item_id"], rows[-1]["why"]) == ("no such item", "unknown")
    closed = raw(served, f"POST /api/events HTTP/1.1\r\n{head}\r\n".encode() + request)
    assert closed.startswith(b"HTTP/1.1 405")
    metrics = ask(served, "GET", "/metrics")[2].decode()
    assert 'nextclick_asked_total{kind="recommendations",outcome="fallback"} 1.0' in metrics


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/page/../../../etc/passwd",
        "/page/..%2f..%2f..%2fetc%2fpasswd",
        "/page/%2e%2e/%2e%2e/settings.py",
        "/page/..%5c..%5csettings.py",
        "/page//etc/passwd",
        "/page/page.css%00.html",
        "/api/sessions/..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/static/../settings.py",
        "/router/..",
        "/table/",
        "/stats",
        "/.git/config",
    ],
)
def test_no_path_leads_out_of_the_views(served: Settings, path: str) -> None:
    status, headers, body = ask(served, "GET", path)
    assert status in (400, 404)
    assert headers["Content-Type"].startswith("application/json")
    assert "error" in json.loads(body)
    assert b"root:" not in body
    assert b"pydantic" not in body


def test_a_name_that_points_here_from_elsewhere_is_not_answered(served: Settings) -> None:
    assert ask(served, "GET", "/api/status", Host=f"rebound.example:{served.web_port}")[0] == 421


def test_huge_heads_and_bodies_are_refused(served: Settings) -> None:
    assert ask(served, "GET", "/" + "a" * 10_000)[0] == 431
    assert ask(served, "GET", "/api/status", Cookie="a" * 60_000)[0] == 431
    huge = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    assert raw(served, huge).startswith(b"HTTP/1.1 413")
    both = (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert b" 400 " in raw(served, both)[:16]


def test_slow_clients_hold_up_nobody(served: Settings) -> None:
    slow = [socket.create_connection(("127.0.0.1", served.web_port), timeout=60) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(b"GET /api/status HTTP/1.1\r\nHost: local")
        assert ask(served, "GET", "/health")[0] == 200
    finally:
        for connection in slow:
            connection.close()


def test_who_asks_without_end_is_held_back_and_then_answered_again(served: Settings) -> None:
    status, retry_after, tries = 200, "", 0
    while status == 200:
        tries += 1
        assert tries < 2000
        status, headers, _ = ask(served, "GET", "/health")
        retry_after = headers.get("Retry-After", "")
    assert (status, retry_after) == (429, "1")
    while (answer := ask(served, "GET", "/health")[0]) == 429:
        tries += 1
        assert tries < 2000
    assert answer == 200
