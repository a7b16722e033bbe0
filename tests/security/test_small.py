"""Small things that hostile hands try: deep files, long lines, what would be repeated to them."""

import asyncio
import json
import logging
import tomllib
from pathlib import Path

import pytest

from model.config_files import read_params
from model.errors import NextclickError
from replay.outside_errors import explained
from stream.access.tokens import RefusedToken, grant_of
from stream.logs import MOST_CHARACTERS, EventFormatter, HumanFormatter, escaped, happening
from tests.harness.guarded import guarded
from tests.unit.stream.web.test_guard import ask

DEEP = 100_000


@pytest.mark.parametrize("origin", ["http://[", "http://]", "http://[::1", "null", "http://evil.example"])
def test_an_origin_that_is_none_or_another_writes_nothing(origin: str) -> None:
    async def run() -> int:
        async with guarded() as (settings, _):
            head = ("POST /api/rank HTTP/1.1", "Content-Type: application/json", "Content-Length: 2")
            return (await ask(settings.web_port, *head, f"Origin: {origin}", body=b"{}"))[0]

    assert asyncio.run(run()) == 403


def test_an_expectation_that_is_none_is_refused_and_not_repeated() -> None:
    async def run() -> None:
        async with guarded() as (settings, _):
            for path in ("/health", "/no/such/path"):
                status, _, body = await ask(settings.web_port, f"GET {path} HTTP/1.1", "Expect: <script>")
                assert (status, b"script" in body) == (417, False)
            head = ("POST /api/rank HTTP/1.1", "Content-Type: application/json", "Content-Length: 2")
            reader, writer = await asyncio.open_connection("127.0.0.1", settings.web_port)
            names = ("Host: localhost", "Expect: 100-Continue", "Connection: close", "", "")
            writer.write("\r\n".join([*head, *names]).encode() + b"{}")
            assert (await reader.read()).startswith(b"HTTP/1.1 100 Continue")
            writer.close()

    asyncio.run(run())


def test_deep_toml_and_deep_json_are_refused_in_three_parts(tmp_path: Path) -> None:
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * DEEP)
    with pytest.raises(NextclickError, match=r"deep\.toml"):
        read_params(deep)
    for read, text, reader in (
        (tomllib.loads, "a = " + "[" * DEEP, "TOML"),
        (json.loads, "[" * DEEP, "JSON"),
    ):
        with pytest.raises(RecursionError) as caught:
            read(text)
        told = explained(caught.value)
        assert told is not None and told.what.startswith(f"{reader} cannot read")


def test_a_recursion_of_the_program_s_own_keeps_its_traceback() -> None:
    def down() -> None:
        down()

    with pytest.raises(RecursionError) as caught:
        down()
    assert explained(caught.value) is None


def test_a_token_that_is_nested_deeply_is_refused() -> None:
    with pytest.raises(RefusedToken):
        grant_of("." + "[" * 4000 + ".", [b"k" * 32])


@pytest.mark.parametrize("formatter", [HumanFormatter(), EventFormatter()])
def test_no_line_of_the_log_is_longer_than_a_few_screens(formatter: logging.Formatter) -> None:
    long = "x" * 500_000
    try:
        raise ValueError(long)
    except ValueError as error:
        failure = (type(error), error, error.__traceback__)
    record = logging.LogRecord("a", logging.WARNING, "a.py", 1, "%s", (long,), failure)
    record.__dict__.update(happening("odd", session=long))
    line = formatter.format(record)
    assert len(line) < 4 * MOST_CHARACTERS and "characters left out" in line


@pytest.mark.parametrize("turner", ["\u061c", "\u202e", "\u2066", "\u206a", "\u200f"])
def test_what_turns_the_direction_of_writing_is_escaped(turner: str) -> None:
    assert turner not in escaped(f"a{turner}b")
