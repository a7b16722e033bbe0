"""The proxy's configuration that is shipped, run by a real nginx in front of a worker, asked by strangers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from model.registry.registry import Registry
from stream.access.grants import POST, READ, VIEW
from stream.access.tokens import make_token
from tests.conftest import settings_of_its_own, train_small
from tests.harness.guarded import guarded
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.nginx import DEADLINE_S, INNER, LISTS, Proxy, nginx
from tests.harness.serving import worker

pytestmark = pytest.mark.nginx
KEY = b"k" * 64
HERE = {"allow 10.0.0.0/8": "allow 127.0.0.1"}
NAMES = f"{LISTS},{INNER}"
PUBLIC = (
    ("GET", "/api/recommendations/4711"),
    ("GET", "/api/similar/7"),
    ("POST", "/api/rank"),
    ("POST", "/api/events"),
)
HIDDEN = (
    "/",
    "/page/page.js",
    "/metrics",
    "/health",
    "/ready",
    "/openapi.json",
    "/api/status",
    "/api/live",
    "/api/stream",
    "/api/sessions/4711",
    "/api/sessions/..%2frecommendations%2f4711",
    "/api/why?item=7",
    "/api/models",
    "/api/recommendations",
    "/api/recommendations/../status",
    "/api/recommendations/..%2fstatus",
    "/api/recommendations/x/%2e%2e/%2e%2e/status",
    "/api/similar/../../metrics",
    "//metrics",
    "/api//status",
    "/metrics%00",
)


@asynccontextmanager
async def client(proxy: Proxy, address: str = "127.0.0.1") -> AsyncIterator[aiohttp.ClientSession]:
    """One that connects from an address of this machine, and knows the proxy by its names."""
    context = ssl.create_default_context(cafile=str(proxy.authority.file))
    connector = aiohttp.TCPConnector(ssl=context, local_addr=(address, 0), resolver=_Here(), limit=0)
    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


class _Here(aiohttp.abc.AbstractResolver):
    """Finds every name on this machine."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


async def ask(
    session: aiohttp.ClientSession, proxy: Proxy, method: str, path: str, name: str = LISTS, **options: Any
) -> tuple[int, Any]:
    """The status, and the body as JSON where it is."""
    # As it stands: the client would tidy the path.
    url = URL(f"https://{name}:{proxy.tls_port}{path}", encoded=True)
    async with session.request(method, url, **options) as answer:
        body = await answer.read()
        return answer.status, json.loads(body) if body.startswith(b"{") else body


def behind_proxy(**changes: Any) -> Any:
    return guarded(web_trusted_proxies="127.0.0.1", web_allowed_hosts=NAMES, **changes)


def test_strangers_reach_what_may_be_public_and_nothing_else(tmp_path: Path) -> None:
    async def run() -> None:
        async with behind_proxy() as (settings, _):
            with nginx(tmp_path, settings.web_port) as proxy:
                async with client(proxy) as session:
                    for method, path in PUBLIC:
                        body = {"session": "4711"} if method == "POST" else None
                        assert (await ask(session, proxy, method, path, json=body))[0] == 200, path
                        for other in {"GET", "POST", "PUT", "DELETE"} - {method}:
                            assert (await ask(session, proxy, other, path))[0] == 403, (other, path)
                    for path in HIDDEN:
                        status, body = await ask(session, proxy, "GET", path)
                        assert status in (400, 404), path
                        assert b"client" not in (body if isinstance(body, bytes) else b""), path
                    # From here the inner server is closed.
                    assert (await ask(session, proxy, "GET", "/metrics", INNER))[0] == 403
                    large = {"session": "x" * (64 << 10)}
                    assert (await ask(session, proxy, "POST", "/api/rank", json=large))[0] == 413
                    with pytest.raises(aiohttp.ClientConnectorError):
                        await ask(session, proxy, "GET", "/api/similar/7", "evil.example")
                    clear = f"http://{LISTS}:{proxy.clear_port}/api/similar/7"
                    async with session.get(clear, allow_redirects=False) as answer:
                        assert answer.status == 308
                        assert answer.headers["Location"] == f"https://{LISTS}/api/similar/7"

    asyncio.run(run())


def test_the_worker_knows_each_client_whatever_the_client_says_of_itself(tmp_path: Path) -> None:
    forged = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"}

    async def run() -> None:
        for header in ("X-Forwarded-For", "Forwarded"):
            async with behind_proxy(web_forwarded_header=header) as (settings, _):
                folder = tmp_path / header
                await asyncio.to_thread(folder.mkdir)
                with nginx(folder, settings.web_port) as proxy:
                    for address in ("127.0.0.2", "127.0.0.3"):
                        async with client(proxy, address) as session:
                            _, body = await ask(session, proxy, "GET", "/api/similar/7", headers=forged)
                            # The header that the proxy does not write names nobody.
                            assert body["client"] == (address if header.startswith("X") else "127.0.0.1")

    asyncio.run(run())


def test_one_client_has_its_share_of_requests_and_another_is_answered(tmp_path: Path) -> None:
    slow = HERE | {"rate=20r/s": "rate=1r/m"}

    async def run() -> None:
        async with behind_proxy() as (settings, _):
            with nginx(tmp_path, settings.web_port, slow) as proxy:
                async with client(proxy, "127.0.0.2") as session:
                    answers = [await ask(session, proxy, "GET", "/api/similar/7") for _ in range(60)]
                statuses = [status for status, _ in answers]
                assert statuses[:41] == [200] * 41 and statuses[-1] == 429
                assert answers[-1][1]["do"] == "Try again after Retry-After seconds."
                async with client(proxy, "127.0.0.3") as session:
                    assert (await ask(session, proxy, "GET", "/api/similar/7"))[0] == 200

    asyncio.run(run())


def test_requests_that_hang_are_bounded_for_each_client(tmp_path: Path) -> None:
    async def run() -> None:
        released, arrived = asyncio.Event(), asyncio.Semaphore(0)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            arrived.release()
            await released.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        long = {"rate=20r/s": "rate=1000r/s"}
        with nginx(tmp_path, server.sockets[0].getsockname()[1], long) as proxy:
            async with client(proxy, "127.0.0.2") as session, client(proxy, "127.0.0.3") as other:
                async with asyncio.TaskGroup() as group:
                    held = [
                        group.create_task(ask(session, proxy, "GET", "/api/similar/7")) for _ in range(20)
                    ]
                    for _ in held:
                        await arrived.acquire()
                    assert (await ask(session, proxy, "GET", "/api/similar/7"))[0] == 429
                    free = group.create_task(ask(other, proxy, "GET", "/api/similar/7"))
                    await arrived.acquire()
                    released.set()
                assert {task.result()[0] for task in (*held, free)} == {200}
        server.close()

    asyncio.run(run())


def test_an_event_of_a_stream_is_passed_on_before_the_next_one_is_there(tmp_path: Path) -> None:
    async def run() -> None:
        received = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            await received.wait()
            writer.write(b"data: 2\n\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        with nginx(tmp_path, server.sockets[0].getsockname()[1], HERE) as proxy:
            async with client(proxy) as session:
                url = f"https://{INNER}:{proxy.tls_port}/api/stream"
                async with session.get(url) as stream:
                    assert await stream.content.readuntil(b"\n\n") == b"data: 1\n\n"
                    received.set()
                    assert await stream.content.readuntil(b"\n\n") == b"data: 2\n\n"
        server.close()

    asyncio.run(run())


@pytest.mark.kafka
def test_a_visitor_posts_a_click_and_is_given_a_list_through_the_proxy(
    kafka: str, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    keys = tmp_path / "web.keys"
    keys.write_bytes(KEY)
    settings = settings_of_its_own(
        kafka,
        tmp_path,
        web_keys_file=keys,
        web_events=True,
        web_trusted_proxies="127.0.0.1",
        web_allowed_hosts=NAMES,
    )
    train_small(shoppers, Registry(settings.registry_dir), network="pop")
    item = str(shoppers.frame["item_id"].iloc[0])

    def bearer(*roles: str, session: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {make_token(KEY, roles, 86_400, session=session)}"}

    async def run() -> None:
        with nginx(tmp_path, settings.web_port, HERE) as proxy:
            async with client(proxy) as visitor:
                own = bearer(READ, POST, session="4711")
                click = {"session_id": "4711", "item_id": item}
                path = "/api/recommendations/4711"
                assert (await ask(visitor, proxy, "POST", "/api/events", json=click))[0] == 401
                status, body = await ask(visitor, proxy, "POST", "/api/events", json=click, headers=own)
                assert status == 200, body
                while (answer := await ask(visitor, proxy, "GET", path, headers=own))[0] == 404:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                assert answer[0] == 200 and answer[1]["items"], answer
                other = "/api/recommendations/4712"
                assert (await ask(visitor, proxy, "GET", other, headers=own))[0] == 403
                url = f"https://{INNER}:{proxy.tls_port}/api/stream"
                async with visitor.get(url, headers=bearer(VIEW)) as stream:
                    while not (line := await stream.content.readline()).startswith(b"data: "):
                        assert line
                    assert json.loads(line.removeprefix(b"data: "))["worker"] == settings.worker_id

    with worker(settings, tmp_path) as process:
        asyncio.run(asyncio.wait_for(run(), DEADLINE_S))
        assert process.stop() == 0
