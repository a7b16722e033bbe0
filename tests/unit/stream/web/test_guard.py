import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from multidict import CIMultiDict

from replay.end_to_end.worker_process import free_port
from stream.access import refusal_log
from stream.access.clients import client_of
from stream.settings import Settings
from stream.web import guard as web_guard
from stream.web import server as web_server
from stream.web.guard import WebGuard
from stream.web.rate_limit import RateLimit
from stream.web.server import GuardedWeb

Answer = tuple[int, dict[str, str], bytes]
Ask = Callable[..., Awaitable[Answer]]


@asynccontextmanager
async def serving(limit: RateLimit | None = None, **changes: Any) -> AsyncIterator[tuple[int, GuardedWeb]]:
    """A guarded server with one view to read, one to write and one that fails."""
    settings = Settings(web_port=free_port(), **changes)
    app = faust.App(
        "guarded", broker="kafka://127.0.0.1:1", web_bind=settings.web_host, web_port=settings.web_port
    )
    guard = WebGuard(settings, limit=limit)
    app.web = web = GuardedWeb(app, guard)
    guard.open_for_writing("/write")

    @app.page("/read/{name}")
    async def read(web: Any, request: Any, name: str) -> Any:
        return web.json({"name": name})

    @app.page("/write")
    class Write(faust.web.View):
        async def post(self, request: Any) -> Any:
            return self.json({"bytes": len(await request.read())})

    @app.page("/fails")
    async def fails(web: Any, request: Any) -> Any:
        raise RuntimeError("inside\nof the view")

    web.init_server()
    await web.start_server()
    try:
        yield settings.web_port, web
    finally:
        await web.stop_server()


async def ask(port: int, *lines: str, body: bytes = b"", host: str | None = "localhost") -> Answer:
    """What is answered to a request whose first line and headers are `lines`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    named = [f"Host: {host}"] if host else []
    head = "\r\n".join([*lines, *named, "Connection: close", "", ""])
    writer.write(head.encode("latin-1") + body)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    top, _, content = answer.partition(b"\r\n\r\n")
    first, *rest = top.decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), content


def post(length: int, *headers: str) -> tuple[str, ...]:
    return (
        "POST /write HTTP/1.1",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *headers,
    )


def test_every_answer_has_the_headers_and_names_no_software() -> None:
    async def check() -> None:
        async with serving() as (port, _):
            for request in ("GET /read/a HTTP/1.1", "GET /none HTTP/1.1", "GET /fails HTTP/1.1", "no HTTP"):
                _, headers, _ = await ask(port, request)
                for name, value in web_guard.SECURITY_HEADERS.items():
                    assert headers[name] == value, request
                assert headers["Cache-Control"] == "no-store"
                assert not any(word in str(headers).lower() for word in ("python", "aiohttp", "faust"))

    asyncio.run(check())


def test_a_view_that_fails_says_so_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> Answer:
        async with serving() as (port, _):
            return await ask(port, "GET /fails HTTP/1.1")

    status, _, body = asyncio.run(check())
    assert (status, b"inside" in body) == (500, False) and has_three_parts(body)
    assert "the web view of '/fails' failed" in caplog.text


@pytest.mark.parametrize(
    ("host", "settings", "status"),
    [
        ("localhost", {}, 200),
        ("LOCALHOST:6066", {}, 200),
        ("127.0.0.1:9", {}, 200),
        ("[::1]:9", {}, 200),
        ("evil.example", {}, 421),
        ("127.0.0.1.evil.example", {}, 421),
        ("localhost@evil.example", {}, 421),
        ("[::1", {}, 421),
        ("shop.example", {"web_allowed_hosts": "shop.example, other.example"}, 200),
        ("evil.example", {"web_allowed_hosts": "shop.example"}, 421),
        ("a.shop.example", {"web_allowed_hosts": ".shop.example"}, 200),
        ("evilshop.example", {"web_allowed_hosts": ".shop.example"}, 421),
        ("any.example", {"web_host": "0.0.0.0"}, 200),
        ("shop.example", {"web_host": "0.0.0.0", "web_allowed_hosts": "shop.example"}, 200),
        ("any.example", {"web_host": "0.0.0.0", "web_allowed_hosts": "shop.example"}, 421),
    ],
)
def test_a_name_that_is_not_the_worker_s_is_not_answered(
    host: str, settings: dict[str, Any], status: int
) -> None:
    async def check() -> Answer:
        async with serving(**settings) as (port, _):
            return await ask(port, "GET /read/a HTTP/1.1", host=host)

    assert asyncio.run(check())[0] == status


def test_two_names_or_none_are_not_answered() -> None:
    async def check() -> list[int]:
        async with serving() as (port, _):
            twice = await ask(port, "GET /read/a HTTP/1.1", "Host: localhost", host="evil.example")
            return [twice[0], (await ask(port, "GET /read/a HTTP/1.0", host=None))[0]]

    twice, none = asyncio.run(check())
    assert twice in (400, 421)
    assert none == 421


def has_three_parts(content: bytes) -> bool:
    refusal = json.loads(content)
    return list(refusal) == ["error", "meaning", "do"] and all(refusal.values())


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        (post(2), b"{}", 200),
        (post(2, "Origin: http://localhost"), b"{}", 200),
        (post(2, "Origin: http://evil.example"), b"{}", 403),
        (post(2, "Origin: null"), b"{}", 403),
        (post(2, "Sec-Fetch-Site: cross-site"), b"{}", 403),
        (post(2, "Content-Encoding: gzip"), b"{}", 415),
        (("POST /write HTTP/1.1", "Content-Type: text/plain", "Content-Length: 2"), b"{}", 415),
        (post(web_guard.MAX_BODY_BYTES), b" " * web_guard.MAX_BODY_BYTES, 200),
        (post(web_guard.MAX_BODY_BYTES + 1), b"", 413),
        (
            (
                "POST /write HTTP/1.1",
                "Content-Type: application/json",
                "Transfer-Encoding: chunked",
            ),
            b"20000\r\n" + b" " * 0x20000 + b"\r\n0\r\n\r\n",
            413,
        ),
        (("PUT /write HTTP/1.1",), b"", 405),
        (("POST /read/a HTTP/1.1", "Content-Length: 2"), b"{}", 405),
        (("POST /write/ HTTP/1.1", "Content-Length: 2"), b"{}", 405),
        (("DELETE /read/a HTTP/1.1",), b"", 405),
        (("GET /read/a HTTP/1.1", "Content-Length: 2"), b"{}", 413),
        (("GET /write HTTP/1.1",), b"", 405),
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_what_is_opened_is_written_and_only_by_the_worker_s_own_page(
    lines: tuple[str, ...], body: bytes, status: int
) -> None:
    async def check() -> Answer:
        async with serving() as (port, _):
            return await ask(port, *lines, body=body)

    answered, headers, content = asyncio.run(check())
    assert answered == status, content
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert status == 200 or has_three_parts(content)


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    async def check() -> list[Answer]:
        async with serving(RateLimit(0.5, 2, clock_s=lambda: 0.0)) as (port, _):
            return [await ask(port, "GET /read/a HTTP/1.1") for _ in range(3)]

    answers = asyncio.run(check())
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert answers[-1][1]["Retry-After"] == "2" and has_three_parts(answers[-1][2])


@pytest.mark.parametrize(
    ("remote", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
    ],
)
def test_a_client_is_an_address_or_the_network_it_has_whole(remote: str | None, client: str) -> None:
    assert client_of(remote) == client


def test_a_head_that_does_not_end_and_a_body_that_does_not_come_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_server, "HEAD_TIMEOUT_S", 0.2)
    monkeypatch.setattr(web_guard, "BODY_TIMEOUT_S", 0.2)

    async def check() -> tuple[bytes, Answer]:
        async with serving() as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /read/a HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            async with asyncio.timeout(10):
                given_up = await reader.read()
            writer.close()
            return given_up, await ask(port, *post(2), body=b"{")

    given_up, (status, _, _) = asyncio.run(check())
    assert given_up == b""
    assert status == 408


def test_more_connections_than_allowed_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "MAX_CONNECTIONS", 2)

    async def check() -> tuple[bytes, Answer]:
        async with serving() as (port, _):
            kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(10):
                try:
                    cut = await reader.read()
                except ConnectionResetError:
                    cut = b""
            for _, other in [*kept, (reader, writer)]:
                other.close()
            async with asyncio.timeout(10):
                while True:
                    try:
                        return cut, await ask(port, "GET /read/a HTTP/1.1")
                    except (ConnectionError, ValueError, IndexError):
                        await asyncio.sleep(0.01)

    cut, (status, _, _) = asyncio.run(check())
    assert (cut, status) == (b"", 200)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("GET /" + "a" * 9000 + " HTTP/1.1",), 431),
        (("GET /read/a HTTP/1.1", "X-Long: " + "a" * 20_000), 431),
        (("GET /read/a HTTP/1.1", *(f"X-{n}: a" for n in range(200))), 400),
        (("\x16\x03\x01\x02",), 400),
        (("GET /read/a\x1b[31m HTTP/1.1",), 400),
    ],
    ids=["path", "header", "headers", "tls", "control"],
)
def test_what_is_no_bounded_http_request_is_refused_in_a_line_of_the_log(
    lines: tuple[str, ...], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> Answer:
        async with serving() as (port, _):
            return await ask(port, *lines)

    with caplog.at_level(logging.INFO):
        answered, headers, content = asyncio.run(check())
    assert answered == status, content
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    refused = [record for record in caplog.records if "no HTTP" in record.getMessage()]
    assert len(refused) == 1
    assert refused[0].levelno == logging.INFO
    assert refused[0].getMessage().isprintable()


def test_one_client_cannot_take_all_connections_and_leaves_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> tuple[int, int, int]:
        async with serving(web_connections_per_client=8) as (port, _):
            taken = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
            for _, writer in taken:
                writer.write(b"GET /read/a HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            cut = 0
            for reader, _ in taken[8:]:
                async with asyncio.timeout(120):
                    try:
                        cut += await reader.read() == b""
                    except ConnectionError:
                        cut += 1
            # Another address is answered meanwhile.
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            writer.write(b"GET /read/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(120):
                status = int((await reader.read()).split()[1])
            for _, other in [*taken, (reader, writer)]:
                other.close()
            # Its connections are its own again once they are closed.
            async with asyncio.timeout(120):
                while True:
                    try:
                        return cut, status, (await ask(port, "GET /read/a HTTP/1.1"))[0]
                    except (ConnectionError, IndexError, ValueError):
                        await asyncio.sleep(0.01)

    with caplog.at_level(logging.DEBUG):
        assert asyncio.run(check()) == (52, 200, 200)
    assert not any(record.exc_info for record in caplog.records)
    cut = [record for record in caplog.records if "cut a connection" in record.getMessage()]
    assert 1 <= len(cut) < 20
    assert "too many connections of one client" in cut[0].getMessage()


def test_connections_of_a_trusted_proxy_are_those_of_many() -> None:
    async def check() -> list[int]:
        proxied: dict[str, Any] = {"web_connections_per_client": 2, "web_trusted_proxies": "127.0.0.0/8"}
        async with serving(**proxied) as (port, _):
            return [
                status
                for status, _, _ in await asyncio.gather(
                    *(ask(port, "GET /read/a HTTP/1.1") for _ in range(10))
                )
            ]

    assert asyncio.run(check()) == [200] * 10


@pytest.mark.parametrize(
    ("proxies", "remote", "headers", "client"),
    [
        ("", "10.0.0.1", ["192.0.2.7"], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
        ("10.0.0.0/8", "10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ["nonsense"], ""),
        ("10.0.0.0/8", "192.0.2.7", ["203.0.113.9"], "192.0.2.7"),
        ("fd00::/8", "fd00::1", ["2001:db8::1:2:3:4"], "2001:db8::/64"),
    ],
)
def test_only_a_trusted_proxy_names_its_client(
    proxies: str, remote: str, headers: list[str], client: str
) -> None:
    guard = WebGuard(Settings(web_trusted_proxies=proxies))
    made = [("X-Forwarded-For", value) for value in headers]
    request = SimpleNamespace(remote=remote, headers=CIMultiDict(made))
    assert guard.clients.of(cast(Any, request)) == client


def test_networks_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="web_trusted_proxies"):
        Settings(web_trusted_proxies="10.0.0.0/99")


def test_what_is_dear_to_answer_costs_more() -> None:
    limit = RateLimit(1, 40, clock_s=lambda: 0.0)
    assert [limit.wait_s("a", 20) for _ in range(3)] == [0.0, 0.0, 20.0]
    # Never more than a client can have: it would never be answered.
    assert RateLimit(1, 2, clock_s=lambda: 0.0).wait_s("a", 20) == 0.0

    async def check() -> list[int]:
        async with serving(RateLimit(0.5, 40, clock_s=lambda: 0.0)) as (port, _):
            return [(await ask(port, "GET /api/why?item=a HTTP/1.1"))[0] for _ in range(3)]

    assert asyncio.run(check()) == [404, 404, 429]


@pytest.mark.parametrize("origin", ["http://[", "http://]", "//", "http://[::1", "\x7f"])
def test_an_origin_that_is_none_is_another_one(origin: str) -> None:
    async def check() -> Answer:
        async with serving() as (port, _):
            return await ask(port, *post(2, f"Origin: {origin}"), body=b"{}")

    assert asyncio.run(check())[0] in (400, 403)


def test_requests_that_are_none_are_counted_and_not_logged_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> int:
        async with serving() as (port, _):
            return sum([(await ask(port, "no HTTP"))[0] == 400 for _ in range(30)])

    with caplog.at_level(logging.DEBUG):
        assert asyncio.run(check()) == 30
    assert 1 <= sum("no HTTP" in record.getMessage() for record in caplog.records) < 30


def test_a_kind_of_refusal_is_logged_once_in_ten_seconds_and_counted() -> None:
    now_s = [0.0]
    refusals = refusal_log.RefusalLog(clock_s=lambda: now_s[0])
    assert [refusals.is_due("a"), refusals.is_due("a"), refusals.is_due("b")] == [True, False, True]
    now_s[0] = refusal_log.LOG_EVERY_S
    assert refusals.is_due("a")
    assert refusals.counts == {"a": 3, "b": 1}
