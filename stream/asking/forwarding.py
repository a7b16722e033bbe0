"""Passes a request on to the worker that has the session's partition, and its answer back.

A request that was passed on once is not passed on again: its header says who did. This worker has checked
the token of whoever asks, and sends a word of its own for this one request in its place.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from stream.access.clients import Clients
from stream.access.credentials import Credentials
from stream.access.refusal_log import RefusalLog
from stream.access.tls import followed_client_context
from stream.asking.owners import PartitionOwners
from stream.logs import happening
from stream.settings import Settings

FORWARDED_BY, OWNER = "X-Nextclick-Forwarded-By", "X-Nextclick-Owner"
TIMEOUT = aiohttp.ClientTimeout(total=2.0, sock_connect=0.5)
MOST_CONNECTIONS = 64
# Answers about the request itself; others say that this worker cannot answer it now.
FINAL = frozenset({200, 400, 404})
# It recovers, or the partition has moved on.
BUSY = 503
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PassedOn:
    """An owner's answer."""

    status: int
    body: bytes
    owner: str


class Forwarder:
    """Asks owners by HTTP; used on the event loop."""

    def __init__(self, settings: Settings, owners: PartitionOwners, credentials: Credentials) -> None:
        self._worker_id = settings.worker_id
        self._clients = Clients(settings)
        self._owners = owners
        self._credentials = credentials
        self._tls = followed_client_context(settings)
        self._scheme = settings.web_scheme
        self._refusals = RefusalLog()
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
            connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS, ssl=self._tls or True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        headers = {FORWARDED_BY: self._worker_id, **self._credentials.of_worker(self._worker_id, request)}
        # So that a worker that trusts this one charges the client, and not all who come this way.
        headers |= self._clients.named_to_workers(request)
        # Workers answer to the same names.
        headers |= {
            name: request.headers[name] for name in ("Host", "Content-Type") if name in request.headers
        }
        url = URL(f"{self._scheme}://{address}{request.rel_url.raw_path_qs}", encoded=True)
        body = await request.read() if request.method == "POST" else None
        try:
            async with self._session.request(
                request.method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._log(address, type(error).__name__)
            return None
        owner = answer.headers.get(OWNER)
        if answer.status not in FINAL or owner is None:
            if answer.status != BUSY:
                self._log(address, f"HTTP {answer.status}")
            return None
        return PassedOn(answer.status, content, owner)

    def _log(self, address: str, why: str) -> None:
        """Say why another worker is of no help, such as a certificate or a token that it does not take."""
        if self._refusals.is_due(why):
            count = self._refusals.counts[why]
            logger.warning(
                "the worker at %s gave no answer to pass on: %s; %d since the start",
                address,
                why,
                count,
                extra=happening("no_answer_to_pass_on", address=address, error=why, count=count),
            )
