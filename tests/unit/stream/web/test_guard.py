import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import faust
import pytest

from replay.end_to_end.worker_process import free_port
from stream.settings import Settings
from stream.web import guard as web_guard
from stream.web import server as web_server
from stream.web.guard import WebGuard, client_of
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
    assert (status, b"inside" in body) == (500, False)
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
    assert (b'"error"' in content) == (status != 200)


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    async def check() -> list[Answer]:
        async with serving(RateLimit(0.5, 2, clock_s=lambda: 0.0)) as (port, _):
            return [await ask(port, "GET /read/a HTTP/1.1") for _ in range(3)]

    answers = asyncio.run(check())
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert answers[-1][1]["Retry-After"] == "2"


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
