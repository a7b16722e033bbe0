"""The first process of a worker asks the others, so that its port speaks for all of them.

Tested by tests/unit/stream/processes/test_siblings.py and tests/faults/test_processes.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from stream.access.credentials import Credentials
from stream.access.tls import followed_client_context
from stream.processes.children import child_settings
from stream.processes.table import ProcessTable
from stream.settings import Settings
from stream.web_address import address_of

TIMEOUT = aiohttp.ClientTimeout(total=5.0, sock_connect=1.0)
# However many ask the first process, the others are asked this often at most.
KEPT_S = 0.5
KEPT_PATHS = frozenset({"/ready", "/health", "/api/status"})
# Asked on the others' probe ports, where they have one: no client takes their connections there.
PROBED_PATHS = frozenset({"/ready", "/health", "/metrics"})


@dataclass(frozen=True)
class Answer:
    """What a process said."""

    status: int
    body: bytes


Answers = dict[int, Answer | None]


class Siblings:
    """The other processes, asked on the event loop of the first one."""

    def __init__(
        self,
        table: ProcessTable,
        addresses: Mapping[int, str],
        settings: Settings,
        host: str = "",
        probes: Mapping[int, str] | None = None,
    ) -> None:
        self.table = table
        self._addresses = addresses
        self._probes = probes or {}
        self._worker_id = settings.worker_id
        self._credentials = Credentials(settings)
        self._tls = followed_client_context(settings)
        self._scheme = settings.web_scheme
        self._headers = {"Host": host} if host else {}
        self._session: aiohttp.ClientSession | None = None
        self._kept: dict[str, tuple[float, asyncio.Task[Answers]]] = {}
        # Those that answered the newest scrape.
        self.answered: frozenset[int] = frozenset()

    @classmethod
    def of(cls, settings: Settings, table: ProcessTable) -> Siblings:
        """Those of the first process of a worker with these settings."""
        children = {number: child_settings(settings, number) for number in range(1, table.processes)}
        addresses = {
            number: f"{settings.web_own_host}:{child.web_port}" for number, child in children.items()
        }
        if settings.web_tls_certificate_file is not None:
            # By the name in the certificate, as other workers ask them.
            addresses = {number: address_of(child) for number, child in children.items()}
        probes = {
            number: f"{settings.web_own_host}:{child.web_probe_port}"
            for number, child in children.items()
            if child.web_probe_port is not None
        }
        return cls(table, addresses, settings, settings.web_first_name, probes)

    async def ask(self, path: str) -> Answers:
        """The answers of the other processes; None where one does not answer."""
        if path not in KEPT_PATHS:
            return await self._ask_all(path)
        asked_s, kept = self._kept.get(path, (0.0, None))
        if kept is None or (kept.done() and time.monotonic() - asked_s > KEPT_S):
            kept = asyncio.create_task(self._ask_all(path))
            self._kept[path] = time.monotonic(), kept
        # A client that goes away takes nothing from the others who wait for it.
        return await asyncio.shield(kept)

    async def close(self, _: Any = None) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask_all(self, path: str) -> Answers:
        found = await asyncio.gather(*(self._ask(number, path) for number in self._addresses))
        return dict(zip(self._addresses, found, strict=True))

    async def _ask(self, number: int, path: str) -> Answer | None:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls or True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        if number in self._probes and path in PROBED_PATHS:
            url, headers = f"http://{self._probes[number]}{path}", {}
        else:
            url = f"{self._scheme}://{self._addresses[number]}{path}"
            headers = {**self._headers, **self._credentials.of_operator(self._worker_id)}
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                return Answer(answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
