"""Two clients that mean ill: several attacks on a worker's web server at fixed rates.

Connections that never end a request come from one address, all other attacks from another: else the first
would take the connections of the others.

It runs for as long as it is told, prints what became of each attack as JSON, and talks to this machine
alone. Started by deploy/benchmarks/abuse.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import Counter

SOURCE, SLOW_SOURCE = "127.0.0.2", "127.0.0.3"
MOST_UNDER_WAY = 64
ANSWER_TIMEOUT_S = 5.0
AGAIN_S = 1.0
AHEAD_MS = 55 * 60_000
HEADERS = "Host: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
# Attack → a second: as in a drill, in which each of them alone took the worker from others.
RATES = {
    "metrics": 100.0,
    "why": 59.0,
    "garbage": 200.0,
    "large": 5.0,
    "bad origin": 5.0,
    "future event": 1.0,
}


def requests(host: str) -> dict[str, bytes]:
    """What each attack sends."""
    head = HEADERS.format(host=host)
    items = "&".join(f"item={number}" for number in range(50))
    now_ms = int(time.time() * 1000)
    event = {"session_id": "abuse", "item_id": "1", "event_time_ms": now_ms + AHEAD_MS}
    bomb = b'{"' + b"a" * (60 << 10) + b'":' + b"[" * 1000
    return {
        "metrics": f"GET /metrics HTTP/1.1\r\n{head}\r\n".encode(),
        "why": f"GET /api/why?{items} HTTP/1.1\r\n{head}\r\n".encode(),
        "garbage": b"\x16\x03\x01 no HTTP at all \xff\r\n\r\n",
        "large": _posted(head, bomb),
        "bad origin": _posted(f"{head}Origin: http://[\r\n", b"{}"),
        "future event": _posted(head, json.dumps(event).encode()),
    }


def _posted(head: str, body: bytes) -> bytes:
    return f"POST /api/events HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Attacker:
    """Attacks one address until `until_s` of the monotonic clock."""

    def __init__(self, port: int, until_s: float) -> None:
        self._place, self._until_s = ("127.0.0.1", port), until_s
        self._room = asyncio.Semaphore(MOST_UNDER_WAY)
        self.outcomes: dict[str, Counter[str]] = {}

    async def run(self, heads: int) -> None:
        """Everything at once, with `heads` connections that never end their first request."""
        sent = requests("{}:{}".format(*self._place))
        async with asyncio.TaskGroup() as group:
            for name, rate in RATES.items():
                group.create_task(self._at_rate(name, sent[name], rate))
            for _ in range(heads):
                group.create_task(self._slow_head())

    async def _at_rate(self, name: str, request: bytes, rate: float) -> None:
        self.outcomes[name] = Counter()
        due_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (now_s := time.monotonic()) < self._until_s:
                if due_s > now_s:
                    await asyncio.sleep(due_s - now_s)
                due_s += 1 / rate
                if self._room.locked():
                    # The attacker has no share left: that request is not sent.
                    self.outcomes[name]["not sent"] += 1
                    continue
                await self._room.acquire()
                group.create_task(self._send(name, request))

    async def _send(self, name: str, request: bytes) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reader, writer = await self._connect(SOURCE)
                try:
                    writer.write(request)
                    line = await reader.readline()
                finally:
                    writer.close()
            self.outcomes[name][line.split(b" ")[1].decode() if line.startswith(b"HTTP/") else "cut"] += 1
        except (OSError, TimeoutError) as error:
            self.outcomes[name][type(error).__name__] += 1
        finally:
            self._room.release()

    async def _slow_head(self) -> None:
        outcomes = self.outcomes.setdefault("slow head", Counter())
        while time.monotonic() < self._until_s:
            try:
                reader, writer = await self._connect(SLOW_SOURCE)
                writer.write(b"GET /health HTTP/1.1\r\n")
                outcomes["opened"] += 1
                try:
                    async with asyncio.timeout(self._until_s - time.monotonic()):
                        await reader.read()
                    outcomes["cut"] += 1
                finally:
                    writer.close()
            except TimeoutError:
                outcomes["held to the end"] += 1
            except OSError as error:
                outcomes[type(error).__name__] += 1
            # A pause, as one who is cut at once would make.
            await asyncio.sleep(AGAIN_S)

    async def _connect(self, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._place, local_addr=(source, 0))


def main() -> None:
    """Attack, then print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of a worker on this machine")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--heads", type=int, default=400)
    parser.add_argument("--nice", type=int, default=10, help="its own share of the processor")
    arguments = parser.parse_args()
    os.nice(arguments.nice)
    attacker = Attacker(arguments.port, time.monotonic() + arguments.seconds)
    asyncio.run(attacker.run(arguments.heads))
    print(json.dumps(attacker.outcomes))


if __name__ == "__main__":
    main()
