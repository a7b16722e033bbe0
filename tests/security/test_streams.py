"""What viewers see of the page's data, and how much of it one client can have open."""

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stream.access.clients import CLIENT
from stream.access.grants import EVERYTHING, GRANT, GRANT_NOW, READ, VIEW, Grant
from stream.access.pseudonyms import Pseudonyms
from stream.access.tokens import RefusedToken
from stream.settings import Settings
from stream.web import page, snapshot
from stream.web.page import LiveStreams
from stream.web.snapshot import Snapshot


def test_viewers_see_pseudonyms_where_readers_see_session_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(pseudonyms: Pseudonyms | None, grant: Grant) -> str:
        nothing = cast(Any, None)
        taken = Snapshot(Settings(), nothing, nothing, nothing, lambda: 0, lambda: pseudonyms)
        now = {"model": None, "newest": [{"session_id": "4711", "item_id": "sku"}]}
        monkeypatch.setattr(snapshot, "point_of", lambda now: {})
        monkeypatch.setattr(taken, "_now", lambda: now)
        monkeypatch.setattr(taken, "_points", SimpleNamespace(add=lambda point: None, swaps=[]))
        taken.refresh()
        return str(json.loads(taken.seen_with(grant))["newest"][0]["session_id"])

    names = Pseudonyms(b"key")
    assert seen(names, Grant(frozenset({VIEW}))) == names.of("4711")
    assert seen(names, Grant(frozenset({READ}), session="4711")) == names.of("4711")
    assert seen(names, Grant(frozenset({READ}))) == "4711"
    assert seen(None, EVERYTHING) == "4711"


class OpenStream:
    """A stream's answer, of which every write is kept."""

    def __init__(self, **_: Any) -> None:
        self.written: list[bytes] = []

    async def prepare(self, request: Any) -> None:
        """Nothing is to be prepared."""

    async def write(self, line: bytes) -> None:
        self.written.append(line)


class Request(dict[Any, Any]):
    method = "GET"


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> LiveStreams:
    monkeypatch.setattr("stream.web.page.aiohttp_web.StreamResponse", OpenStream)
    taken = SimpleNamespace(number=1, mark_viewed=lambda: None, seen_with=lambda grant: b"{}")
    return LiveStreams(cast(Snapshot, taken))


def test_one_client_cannot_have_all_streams_and_gets_its_place_back(
    streams: LiveStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        def begin(client: str) -> "asyncio.Task[Any]":
            granted = {CLIENT: client, GRANT: EVERYTHING, GRANT_NOW: lambda: EVERYTHING}
            return asyncio.create_task(streams.serve(Request(granted)))

        greedy = [begin("192.0.2.7") for _ in range(page.MOST_STREAMS)]
        refused = [(await task).status for task in greedy[page.MOST_OF_CLIENT :]]
        assert set(refused) == {503} and streams.open == page.MOST_OF_CLIENT
        first_line = asyncio.Event()

        def seen_with(grant: Grant) -> bytes:
            first_line.set()
            return b"{}"

        monkeypatch.setattr(streams._snapshot, "seen_with", seen_with)
        other = begin("192.0.2.8")
        # It has sent what there is, and waits as the others do.
        await asyncio.wait_for(first_line.wait(), 120)
        assert not other.done() and streams.open == page.MOST_OF_CLIENT + 1
        await streams.close()
        await asyncio.gather(other, *greedy[: page.MOST_OF_CLIENT])
        assert streams.open == 0 and not streams._of_client

    asyncio.run(run())


def test_a_stream_ends_with_its_token(streams: LiveStreams) -> None:
    async def run() -> OpenStream:
        ended = Grant(frozenset({VIEW}), ends_s=time.time() - 1)
        found: OpenStream = await streams.serve(Request({CLIENT: "192.0.2.7", GRANT: ended}))
        return found

    assert not [line for line in asyncio.run(run()).written if line.startswith(b"data")]
    assert streams.open == 0


def test_a_stream_ends_when_its_key_is_taken_out_of_use(
    streams: LiveStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants = [Grant(frozenset({VIEW}))]

    def granted_now() -> Grant:
        if not grants:
            raise RefusedToken("the token is signed by none of this worker's keys")
        return grants[0]

    async def run() -> OpenStream:
        first_line = asyncio.Event()

        def seen_with(grant: Grant) -> bytes:
            first_line.set()
            return b"{}"

        monkeypatch.setattr(streams._snapshot, "seen_with", seen_with)
        request = Request({CLIENT: "192.0.2.7", GRANT: grants[0], GRANT_NOW: granted_now})
        open_stream = asyncio.create_task(streams.serve(request))
        await asyncio.wait_for(first_line.wait(), 120)
        grants.clear()
        cast(Any, streams._snapshot).number = 2
        await streams.notify()
        found: OpenStream = await asyncio.wait_for(open_stream, 120)
        return found

    assert len([line for line in asyncio.run(run()).written if line.startswith(b"data")]) == 1
    assert streams.open == 0


def test_viewers_never_see_what_is_not_made_for_them_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = cast(Any, None)
    seen: list[bytes] = []

    class Watching(Pseudonyms):
        def of(self, session_id: str) -> str:
            seen.append(taken.seen_with(Grant(frozenset({VIEW}))))
            return super().of(session_id)

    names = Watching(b"key")
    taken = Snapshot(Settings(), nothing, nothing, nothing, lambda: 0, lambda: names)
    monkeypatch.setattr(snapshot, "point_of", lambda now: {})
    monkeypatch.setattr(taken, "_now", lambda: {"model": None, "newest": [{"session_id": "4711"}]})
    monkeypatch.setattr(taken, "_points", SimpleNamespace(add=lambda point: None, swaps=[]))
    taken.refresh()
    taken.refresh()
    assert len(seen) == 2 and b"4711" not in b"".join(seen)
