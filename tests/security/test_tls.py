"""TLS and mTLS of the web server, asked by real clients and by other workers, while certificates change."""

import asyncio
import shutil
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from model.errors import NextclickError
from stream.access.grants import OPERATE
from stream.access.own_requests import open_worker, own_address
from stream.access.tls import server_context
from stream.asking.owners import Owner
from stream.settings import Settings
from tests.harness.certificates import Authority, Certificate
from tests.harness.guarded import guarded
from tests.unit.stream.asking.test_views import serving as asking


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(files: Certificate, **changes: Any) -> dict[str, Any]:
    return {"web_tls_certificate_file": files.certificate, "web_tls_key_file": files.key, **changes}


def trusting(authority: Authority, own: Certificate | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


async def ask(settings: Settings, context: ssl.SSLContext) -> str:
    """The serial number of the certificate that a new connection is shown, or why there is no answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", settings.web_port, ssl=context)
        writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        serial = str(writer.get_extra_info("peercert")["serialNumber"])
        writer.close()
    except OSError as error:
        return f"none: {type(error).__name__}"
    return serial if answer.startswith(b"HTTP/1.1 200 ") else "none"


def test_a_client_that_trusts_the_authority_is_answered_and_another_refuses(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.sign("worker")

    async def run() -> None:
        async with guarded(**tls(files)) as (settings, _):
            assert own_address(settings).startswith("https://")
            assert (await ask(settings, trusting(authority))).isalnum()
            strange = trusting(Authority(tmp_path, "stranger"))
            assert await ask(settings, strange) == "none: SSLCertVerificationError"
            # In clear there is no answer.
            async with aiohttp.ClientSession() as client:
                with pytest.raises(aiohttp.ClientError):
                    await client.get(f"http://127.0.0.1:{settings.web_port}/health")

    asyncio.run(run())


def test_a_certificate_that_has_ended_is_not_believed(authority: Authority) -> None:
    async def run() -> str:
        async with guarded(**tls(authority.sign("worker", days=-1))) as (settings, _):
            return await ask(settings, trusting(authority))

    assert asyncio.run(run()) == "none: SSLCertVerificationError"


def test_with_mtls_only_who_shows_a_certificate_of_the_authority_is_answered(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").sign("somebody")
    given = tls(authority.sign("worker"), web_tls_ca_file=authority.file, web_tls_clients=True)

    async def run() -> None:
        async with guarded(**given) as (settings, _):
            assert (await ask(settings, trusting(authority, authority.sign("client")))).isalnum()
            for own in (None, stranger, authority.sign("late", days=-1)):
                assert (await ask(settings, trusting(authority, own))).startswith("none")

    asyncio.run(run())


def test_new_certificates_are_taken_up_while_it_runs_and_damaged_ones_are_not(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, next_one = authority.sign("worker"), authority.sign("next")

    async def run() -> None:
        async with guarded(**tls(files)) as (settings, _):
            first = await ask(settings, trusting(authority))
            # The key comes after its certificate: the two do not fit each other for a while.
            await asyncio.to_thread(shutil.copy, next_one.certificate, files.certificate)
            assert await ask(settings, trusting(authority)) == first
            assert await ask(settings, trusting(authority)) == first
            assert caplog.text.count("the former certificates stay") == 1
            await asyncio.to_thread(shutil.copy, next_one.key, files.key)
            second = await ask(settings, trusting(authority))
            assert second != first and second.isalnum()
            await asyncio.to_thread(files.certificate.write_text, "no certificate")
            assert await ask(settings, trusting(authority)) == second

    asyncio.run(run())


def test_an_authority_that_is_taken_out_of_the_file_is_believed_no_more(
    authority: Authority, tmp_path: Path
) -> None:
    other, trusted = Authority(tmp_path, "other"), tmp_path / "trusted.pem"
    trusted.write_bytes(authority.file.read_bytes())
    given = tls(authority.sign("worker"), web_tls_ca_file=trusted, web_tls_clients=True)
    own = authority.sign("client")

    async def run() -> None:
        async with guarded(**given) as (settings, _):
            assert (await ask(settings, trusting(authority, own))).isalnum()
            await asyncio.to_thread(trusted.write_bytes, await asyncio.to_thread(other.file.read_bytes))
            assert (await ask(settings, trusting(authority, own))).startswith("none")

    asyncio.run(run())


def test_workers_ask_each_other_by_tls_and_show_their_certificates(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Authority(tmp_path, "stranger")

    def given(files: Certificate) -> dict[str, Any]:
        return tls(files, web_tls_ca_file=authority.file, web_tls_clients=True)

    async def run() -> list[tuple[int, str]]:
        found = []
        own = trusting(authority, authority.sign("client"))
        elsewhere = authority.sign("elsewhere", "10.0.0.9")
        for signed in (authority.sign("owner"), elsewhere, stranger.sign("owner-2")):
            async with (
                asking(**given(authority.sign("asked"))) as asked,
                asking("owner", **given(signed)) as owner,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=own)) as client,
            ):
                asked.owners.next = [Owner("owner", f"127.0.0.1:{owner.settings.web_port}")]
                owner.answers.elsewhere = set()
                address = f"{own_address(asked.settings)}/api/recommendations/elsewhere"
                async with client.get(address) as answer:
                    found.append((answer.status, answer.headers["X-Nextclick-Owner"]))
        return found

    assert asyncio.run(run()) == [(200, "owner"), (503, "asked"), (503, "asked")]
    assert "gave no answer to pass on: ClientConnectorCertificateError" in caplog.text


def test_the_project_s_own_programs_show_the_certificate_of_their_settings(authority: Authority) -> None:
    given = tls(authority.sign("worker"), web_tls_ca_file=authority.file, web_tls_clients=True)

    def status(settings: Settings) -> int:
        with open_worker(settings, f"{own_address(settings)}/api/status", OPERATE, 60) as answer:
            return int(answer.status)

    async def run() -> int:
        async with guarded(**given) as (settings, _):
            return await asyncio.to_thread(status, settings)

    assert asyncio.run(run()) == 200


def test_files_that_do_not_belong_together_are_refused_at_the_start(
    authority: Authority, tmp_path: Path
) -> None:
    one, other = authority.sign("one"), authority.sign("other")
    hidden = authority.sign("hidden", password=b"secret")
    for files in (
        Certificate(one.certificate, other.key),
        Certificate(one.key, one.key),
        Certificate(tmp_path / "none", one.key),
        hidden,
    ):
        with pytest.raises(NextclickError, match="the certificates of the web server cannot be used"):
            server_context(Settings(**tls(files)))
    with pytest.raises(ValueError, match="set both or none"):
        Settings(web_tls_certificate_file=one.certificate)
    with pytest.raises(ValueError, match="web_tls_clients: needs"):
        Settings(**tls(one, web_tls_clients=True))
