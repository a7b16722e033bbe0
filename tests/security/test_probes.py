"""Probes on a port of their own are answered whatever clients do on the other one."""

import asyncio

import pytest

from replay.end_to_end.worker_process import free_port
from stream.settings import Settings
from stream.web.server import MAX_CONNECTIONS
from tests.harness.guarded import guarded
from tests.unit.stream.web.test_guard import ask


def test_who_takes_the_door_does_not_take_the_probes() -> None:
    async def run() -> None:
        given = {"web_probe_port": free_port(), "web_connections_per_client": 256}
        async with guarded(**given) as (settings, _):
            held = [
                await asyncio.open_connection("127.0.0.1", settings.web_port) for _ in range(MAX_CONNECTIONS)
            ]
            for _, writer in held:
                writer.write(b"GET /health HTTP/1.1\r\n")
                await writer.drain()
            with pytest.raises((ConnectionError, IndexError)):
                await ask(settings.web_port, "GET /health HTTP/1.1")
            for path in ("/health", "/ready", "/metrics"):
                assert (await ask(probe_port(settings), f"GET {path} HTTP/1.1"))[0] == 200
            for _, writer in held:
                writer.close()

    asyncio.run(run())


def probe_port(settings: Settings) -> int:
    assert settings.web_probe_port is not None
    return settings.web_probe_port


def test_the_port_of_probes_answers_nothing_else_and_only_by_its_addresses_and_names() -> None:
    async def run() -> list[int]:
        given = {"web_probe_port": free_port(), "web_allowed_hosts": "worker-1"}
        async with guarded(**given) as (settings, _):
            port = probe_port(settings)
            found = []
            for head, host in (
                ("GET /health HTTP/1.1", "10.0.0.7:9464"),
                ("GET /health HTTP/1.1", "[fd00::7]:9464"),
                ("GET /health HTTP/1.1", "worker-1"),
                ("GET /health HTTP/1.1", "evil.example"),
                ("GET /health HTTP/1.1", "10.0.0.7.evil.example"),
                ("GET /api/live HTTP/1.1", "worker-1"),
                ("POST /health HTTP/1.1", "worker-1"),
            ):
                found.append((await ask(port, head, host=host))[0])
            return found

    assert asyncio.run(run()) == [200, 200, 200, 421, 421, 404, 405]


def test_the_port_of_probes_is_another_one() -> None:
    with pytest.raises(ValueError, match="web_probe_port: is web_port"):
        Settings(web_port=6066, web_probe_port=6066)
