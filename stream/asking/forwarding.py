"""Passes a request on to the worker that has the session's partition, and its answer back.

A request that was passed on once is not passed on again: its header says who did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from stream.asking.owners import PartitionOwners
from stream.web_address import FORWARDED_FOR

FORWARDED_BY, OWNER = "X-Nextclick-Forwarded-By", "X-Nextclick-Owner"
TIMEOUT = aiohttp.ClientTimeout(total=2.0, sock_connect=0.5)
MOST_CONNECTIONS = 64
# Answers about the request itself; others say that this worker cannot answer it now.
FINAL = frozenset({200, 400, 404})


@dataclass(frozen=True)
class PassedOn:
    """An owner's answer."""

    status: int
    body: bytes
    owner: str


class Forwarder:
    """Asks owners by HTTP; used on the event loop."""

    def __init__(self, worker_id: str, owners: PartitionOwners) -> None:
        self._worker_id = worker_id
        self._owners = owners
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, request: Any, number: int) -> PassedOn | None:
        """The answer of the partition's owner; None where none is known, or it does not answer.

        What it was asked is asked again of another owner, where the partition has just moved.
        """
        if FORWARDED_BY in request.headers:
            return None
        before = None
        for _ in range(2):
            owner = await self._owners.of(number)
            if owner is None:
                self._owners.doubt()
            if owner is None or owner.worker_id == self._worker_id or owner == before:
                break
            answer = await self._ask(request, owner.address)
            if answer is not None:
                return answer
            before = owner
            self._owners.doubt()
        return None

    async def close(self, _: Any = None) -> None:
        """Close the connections to other workers."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, request: Any, address: str) -> PassedOn | None:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        headers = {FORWARDED_BY: self._worker_id}
        # So that a worker that trusts this one charges the client, and not all who come this way.
        passed = [*request.headers.getall(FORWARDED_FOR, []), request.remote or ""]
        headers[FORWARDED_FOR] = ", ".join(one for one in passed if one)
        # Workers answer to the same names.
        headers |= {
            name: request.headers[name] for name in ("Host", "Content-Type") if name in request.headers
        }
        url = URL(f"http://{address}{request.rel_url.raw_path_qs}", encoded=True)
        body = await request.read() if request.method == "POST" else None
        try:
            async with self._session.request(
                request.method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        owner = answer.headers.get(OWNER)
        if answer.status not in FINAL or owner is None:
            return None
        return PassedOn(answer.status, content, owner)
