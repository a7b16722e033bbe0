"""Who asks without a token, with a wrong one, or with one for something else, and what it gets."""

import asyncio
import base64
import json
import urllib.error
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

import nextclick
from stream.access.grants import OPERATE, POST, READ, VIEW
from stream.access.own_requests import open_worker, own_address
from stream.access.tokens import make_token
from stream.asking.owners import Owner
from stream.settings import Settings
from tests.harness.guarded import guarded, table
from tests.unit.stream.asking.test_views import serving as asking

KEY, OTHER = "k" * 64, "o" * 64
SESSION = {"session": "4711"}
# Path → what each token gets: of the roles view, read, post, operate; and those of session 4711 alone.
EXPECTED = {
    "/": "view read",
    "/page/{name}": "view read",
    "/api/live": "view read",
    "/api/live/history": "view read",
    "/api/stream": "view read",
    "/api/items": "view read",
    "/api/why": "view read",
    "/api/models": "view read operate",
    "/api/similar/{item_id}": "view read own-read",
    "/api/sessions/{session_id}": "read own-read",
    "/api/recommendations/{session_id}": "read own-read",
    "/api/rank": "read own-read",
    "/api/rules": "view read operate",
    # Whose view refuses a token for one session.
    "/api/tries": "read own-read",
    "/api/events": "post own-post",
    "/metrics": "operate",
    "/api/status": "operate",
    "/api/quality": "operate",
    "/health": "view read post operate own-read own-post nobody",
    "/ready": "view read post operate own-read own-post nobody",
    "/openapi.json": "view read post operate own-read own-post nobody",
}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "web.keys"
    file.write_text(f"{KEY}\n")
    return file


def token(*roles: str, session: str | None = None, lasts_s: float = 600, key: str = KEY) -> str:
    return make_token(key.encode(), roles, lasts_s, session=session)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{text}".encode()).decode()}


async def ask(
    client: aiohttp.ClientSession, settings: Settings, path: str, headers: dict[str, str], method: str = "GET"
) -> tuple[int, Any, Any]:
    address = f"{own_address(settings)}{path}"
    body = {"session": "4711"} if method == "POST" else None
    async with client.request(method, address, headers=headers, json=body) as answer:
        return answer.status, answer.headers, json.loads(await answer.read() or b"{}")


def test_each_role_opens_what_it_says_and_nothing_else(keys: Path) -> None:
    holders = {
        "view": bearer(token(VIEW)),
        "read": bearer(token(READ)),
        "post": bearer(token(POST)),
        "operate": bearer(token(OPERATE)),
        "own-read": bearer(token(READ, session="4711")),
        "own-post": bearer(token(POST, session="4711")),
        "nobody": {},
    }

    async def run() -> dict[str, str]:
        opened = {}
        async with guarded(web_keys_file=keys) as (settings, _), aiohttp.ClientSession() as client:
            for route in table():
                path = (
                    route.path.format(name="page.js", session_id="4711", item_id="7")
                    if "{" in route.path
                    else route.path
                )
                got = {
                    holder: (await ask(client, settings, path, headers, route.methods[0]))[0]
                    for holder, headers in holders.items()
                }
                assert set(got.values()) <= {200, 401, 403}
                assert got["nobody"] in (200, 401), route.path
                opened[route.path] = " ".join(holder for holder, status in got.items() if status == 200)
        return opened

    assert asyncio.run(run()) == EXPECTED


def test_missing_wrong_and_ended_tokens_are_told_apart_and_challenged(keys: Path) -> None:
    async def run() -> None:
        async with guarded(web_keys_file=keys) as (settings, _), aiohttp.ClientSession() as client:
            for headers, why in (
                ({}, "a token is needed"),
                (bearer(""), "a token is needed"),
                ({"Authorization": "Digest x"}, "a token is needed"),
                ({"Authorization": "Basic ?"}, "name and password cannot be read"),
                (bearer("x"), "cannot be read"),
                (bearer(token(READ, key=OTHER)), "none of this worker's keys"),
                (basic(token(READ, key=OTHER)), "none of this worker's keys"),
                (bearer(token(READ, lasts_s=-60)), "has ended"),
            ):
                status, answer, body = await ask(client, settings, "/api/sessions/4711", headers)
                assert (status, why in body["error"]) == (401, True), (headers, body)
                assert answer["WWW-Authenticate"].startswith("Basic ")
            for headers in (bearer(token(READ)), basic(token(READ))):
                assert (await ask(client, settings, "/api/sessions/4711", headers))[2]["roles"] == [READ]
            # Another's session, by each way that names one in the path.
            own = bearer(token(READ, session="4711"))
            for path in ("/api/sessions/4712", "/api/recommendations/4712", "/api/sessions/4711%2F.."):
                assert (await ask(client, settings, path, own))[0] in (403, 404), path
            assert (await ask(client, settings, "/no/such/path", {}))[0] == 404

    asyncio.run(run())


def test_a_key_that_is_taken_out_of_the_file_opens_nothing_from_then_on(keys: Path) -> None:
    async def run() -> None:
        old, new = bearer(token(READ)), bearer(token(READ, key=OTHER))
        async with guarded(web_keys_file=keys) as (settings, _), aiohttp.ClientSession() as client:

            async def statuses() -> list[int]:
                return [(await ask(client, settings, "/api/live", headers))[0] for headers in (old, new)]

            assert await statuses() == [200, 401]
            await asyncio.to_thread(keys.write_text, f"{OTHER}\n{KEY}\n")
            assert await statuses() == [200, 200]
            await asyncio.to_thread(keys.write_text, f"{OTHER}\n")
            assert await statuses() == [401, 200]

    asyncio.run(run())


def test_without_keys_everything_is_open_as_before() -> None:
    async def run() -> None:
        async with guarded() as (settings, _), aiohttp.ClientSession() as client:
            for headers in ({}, bearer("nonsense")):
                assert (await ask(client, settings, "/api/sessions/4711", headers))[0] == 200

    asyncio.run(run())


def test_the_owner_of_a_session_believes_the_worker_that_has_checked_who_asks(keys: Path) -> None:
    async def run() -> None:
        async with asking(web_keys_file=keys) as asked, asking("owner", web_keys_file=keys) as owner:
            asked.owners.next = [Owner("owner", f"127.0.0.1:{owner.settings.web_port}")]
            owner.answers.elsewhere = set()
            async with aiohttp.ClientSession() as client:
                path = "/api/recommendations/elsewhere"
                for role in (token(READ), token(READ, session="elsewhere")):
                    status, headers, _ = await ask(client, asked.settings, path, bearer(role))
                    assert (status, headers["X-Nextclick-Owner"]) == (200, "owner")
                for role in (token(READ, session="other"), token(VIEW)):
                    assert (await ask(client, asked.settings, path, bearer(role)))[0] == 403
                # Who only says that he is a worker is asked for a token like anybody else.
                forged = {"X-Nextclick-Forwarded-By": "asked"}
                assert (await ask(client, owner.settings, path, forged))[0] == 401

    asyncio.run(run())


def test_an_owner_with_other_keys_answers_no_worker(keys: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.keys"
    other.write_text(f"{OTHER}\n")

    async def run() -> None:
        async with asking(web_keys_file=keys) as asked, asking("owner", web_keys_file=other) as owner:
            asked.owners.next = [Owner("owner", f"127.0.0.1:{owner.settings.web_port}")]
            owner.answers.elsewhere = set()
            async with aiohttp.ClientSession() as client:
                path = "/api/recommendations/elsewhere"
                status, _, body = await ask(client, asked.settings, path, bearer(token(READ)))
                assert (status, body["error"]) == (503, "no worker answers for partition 3")

    asyncio.run(run())


def test_a_token_for_one_session_ranks_for_no_other_and_tries_no_rules(keys: Path) -> None:
    async def run() -> None:
        async with asking(web_keys_file=keys) as asked, aiohttp.ClientSession() as client:
            for session, status in (("s", 200), ("t", 403)):
                body = {"session": session, "candidates": ["b", "a"]}
                own = bearer(token(READ, session="s"))
                address = f"{own_address(asked.settings)}/api/rank"
                async with client.post(address, json=body, headers=own) as answer:
                    assert answer.status == status
            for asked_for in ("session=s", "session=t", "item=i7&user=u"):
                status, _, body = await ask(client, asked.settings, f"/api/tries?{asked_for}", own)
                assert (status, body["error"]) == (403, "the token is for another session")

    asyncio.run(run())


def test_nextclick_token_makes_what_a_worker_takes_and_refuses_what_makes_no_sense(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner().invoke
    assert "no key to sign" in str(run(nextclick.app, ["token", "--role", "read"]).exception)
    monkeypatch.setenv("NEXTCLICK_WEB_KEYS_FILE", str(keys))
    made = run(nextclick.app, ["token", "--role", "read", "--session", "4711", "--json"])
    assert made.exit_code == 0, made.output
    said = json.loads(made.stdout)
    assert (said["roles"], said["session"]) == (["read"], "4711")

    async def asked() -> None:
        async with guarded(web_keys_file=keys) as (settings, _), aiohttp.ClientSession() as client:
            status, _, body = await ask(client, settings, "/api/sessions/4711", bearer(said["token"]))
            assert (status, body["session"]) == (200, "4711")

    asyncio.run(asked())
    assert run(nextclick.app, ["token", "--role", "root"]).exit_code == 2
    assert run(nextclick.app, ["token", "--role", "view", "--session", "4711"]).exit_code == 2


def test_the_project_s_own_programs_ask_with_a_token_of_their_own(keys: Path) -> None:
    def status(settings: Settings) -> dict[str, Any]:
        with open_worker(settings, f"{own_address(settings)}/api/status", OPERATE, 60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    async def run() -> None:
        async with guarded(web_keys_file=keys) as (settings, _):
            assert (await asyncio.to_thread(status, settings))["roles"] == [OPERATE]
            with pytest.raises(urllib.error.HTTPError, match="401"):
                await asyncio.to_thread(status, Settings(web_port=settings.web_port))

    asyncio.run(run())
