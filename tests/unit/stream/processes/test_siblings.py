import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from aiohttp import web

from replay.end_to_end.worker_process import free_port
from stream.access.credentials import Credentials
from stream.access.grants import OPERATE, READ
from stream.access.key_ring import KeyRing
from stream.access.tokens import grant_of
from stream.processes.siblings import Answer, Siblings
from stream.processes.table import ProcessTable
from stream.settings import Settings


async def who_was_asked(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.headers['Host']} {request.path_qs}", status=503)


def beside_a_server(
    port: int,
    ask: Callable[[], Coroutine[None, None, None]],
    said: Callable[[web.Request], Awaitable[web.Response]] = who_was_asked,
) -> None:
    """Run `ask` while a server at `port` answers."""

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", said)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            await ask()
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_the_others_are_asked_at_their_ports_and_one_that_is_not_there_gives_no_answer() -> None:
    port = free_port()
    # Not there: the port of no program.
    absent = free_port()
    addresses = {1: f"127.0.0.1:{port}", 2: f"127.0.0.1:{absent}"}
    siblings = Siblings(ProcessTable(3), addresses, Settings(), "shop.example")

    async def ask() -> None:
        found = await siblings.ask("/api/quality?until_ms=5")
        assert found == {1: Answer(503, b"shop.example /api/quality?until_ms=5"), 2: None}
        await siblings.close()

    beside_a_server(port, ask)


def test_probes_of_the_others_go_to_their_probe_ports_without_a_token(tmp_path: Path) -> None:
    probes, clients = free_port(), free_port()
    keys = tmp_path / "keys"
    keys.write_text("k" * 32 + "\n")
    settings = Settings(web_port=clients - 1, web_probe_port=probes - 1, web_keys_file=keys)
    asked: list[tuple[str, bool]] = []

    async def said(request: web.Request) -> web.Response:
        asked.append((request.path, "Authorization" in request.headers))
        return web.Response(text="mine")

    async def ask() -> None:
        siblings = Siblings.of(settings, ProcessTable(2))
        for path in ("/health", "/ready", "/metrics"):
            assert await siblings.ask(path) == {1: Answer(200, b"mine")}
        # Of clients: nobody listens at their port here.
        assert await siblings.ask("/api/status") == {1: None}
        await siblings.close()

    beside_a_server(probes, ask, said)
    assert asked == [("/health", False), ("/ready", False), ("/metrics", False)]


def test_however_many_ask_at_once_the_others_are_asked_one_time() -> None:
    asked: list[str] = []

    class Counted(Siblings):
        async def _ask(self, number: int, path: str) -> Answer | None:
            asked.append(path)
            await asyncio.sleep(0)
            return Answer(200, b"{}")

    async def ask() -> None:
        siblings = Counted(ProcessTable(2), {1: "127.0.0.1:9"}, Settings())
        one, *others = [asyncio.create_task(siblings.ask("/ready")) for _ in range(20)]
        await asyncio.sleep(0)
        # A client that goes away.
        one.cancel()
        assert await asyncio.gather(*others) == [{1: Answer(200, b"{}")}] * 19
        assert asked == ["/ready"]
        await siblings.ask("/api/quality?until_ms=1")
        assert asked == ["/ready", "/api/quality?until_ms=1"]

    asyncio.run(ask())


def test_a_worker_that_listens_everywhere_is_asked_on_its_own_machine() -> None:
    for host, wanted in (("0.0.0.0", "127.0.0.1:7001"), ("::", "[::1]:7001"), ("10.0.0.7", "10.0.0.7:7001")):
        siblings = Siblings.of(Settings(web_host=host, web_port=7000), ProcessTable(2))
        assert siblings._addresses == {1: wanted}


def test_where_tokens_are_asked_it_shows_one_of_an_operator(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k" * 64 + "\n")
    keys.chmod(0o600)
    credentials = Credentials(Settings(web_keys_file=keys))
    token = credentials.of_operator("shop")["Authorization"].removeprefix("Bearer ")
    grant = grant_of(token, KeyRing(keys).keys)
    assert grant.has(OPERATE) and not grant.has(READ)
    assert Credentials(Settings()).of_operator("shop") == {}
