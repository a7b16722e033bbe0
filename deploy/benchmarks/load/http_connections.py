"""Kept connections to one HTTP server, for a load that must not take the server's cores itself.

A request costs a tenth of a millisecond here; with a client library it cost as much as the answer.
Tested by tests/integration/test_benchmarks.py.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

LENGTH = b"content-length:"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HttpConnections:
    """At most `count` connections to the server of an address, each with one request at a time."""

    def __init__(self, address: str, count: int) -> None:
        url = urlsplit(address)
        self._host, self._port = url.hostname or "", url.port or 80
        self._count = count
        self._free: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()

    async def __aenter__(self) -> Self:
        for _ in range(self._count):
            self._free.put_nowait(None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self._free.empty():
            if (connection := self._free.get_nowait()) is not None:
                connection[1].close()

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of an answer that says its length. Raises OSError where there is none."""
        connection = await self._free.get()
        answered = False
        try:
            reader, writer = connection or await asyncio.open_connection(self._host, self._port)
            connection = reader, writer
            kind = "Content-Type: application/json\r\n" if body else ""
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            told = await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(_length(told))
            answered = b"connection: close" not in told.lower()
            return int(told[9:12]), content
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(str(error)) from None
        finally:
            if not answered and connection is not None:
                connection[1].close()
                connection = None
            self._free.put_nowait(connection)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(LENGTH):
            return int(line[len(LENGTH) :])
    raise OSError("an answer without its length")
