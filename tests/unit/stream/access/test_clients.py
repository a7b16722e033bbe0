from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from stream.access.clients import Clients
from stream.settings import Settings


def request(remote: str, *headers: tuple[str, str]) -> Any:
    return make_mocked_request("GET", "/", headers=CIMultiDict(headers)).clone(remote=remote)


def clients(**changes: Any) -> Clients:
    return Clients(Settings(web_trusted_proxies="10.0.0.0/8", **changes))


@pytest.mark.parametrize(
    ("remote", "headers", "client"),
    [
        ("10.0.0.1", ["for=192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["for=203.0.113.9, for=192.0.2.7;proto=https;by=10.0.0.1"], "192.0.2.7"),
        ("10.0.0.1", ["for=203.0.113.9, for=192.0.2.7, For=10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", ["for=203.0.113.9", 'for="192.0.2.7:4711"'], "192.0.2.7"),
        ("10.0.0.1", ['for="[2001:db8::1:2:3:4]:4711"'], "2001:db8::/64"),
        # What a client wrote cannot swallow what the proxy has added.
        ("10.0.0.1", ['for="203.0.113.9, for=192.0.2.7'], "192.0.2.7"),
        ("10.0.0.1", ["for=203.0.113.9, by=secret"], ""),
        ("10.0.0.1", ["for=_hidden"], ""),
        ("10.0.0.1", [], "10.0.0.1"),
        ("192.0.2.7", ["for=203.0.113.9"], "192.0.2.7"),
    ],
)
def test_forwarded_names_the_client_where_the_proxies_write_it(
    remote: str, headers: list[str], client: str
) -> None:
    asked = request(remote, *(("Forwarded", value) for value in headers))
    assert clients(web_forwarded_header="Forwarded").of(asked) == client


def test_the_header_that_the_proxies_do_not_write_is_not_read() -> None:
    both = request("10.0.0.1", ("Forwarded", "for=203.0.113.9"), ("X-Forwarded-For", "192.0.2.7"))
    assert clients().of(both) == "192.0.2.7"
    assert clients(web_forwarded_header="Forwarded").of(both) == "203.0.113.9"
    assert clients().of(request("10.0.0.1", ("Forwarded", "for=203.0.113.9"))) == "10.0.0.1"


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For"])
@pytest.mark.parametrize("remote", ["192.0.2.7", "2001:db8::1"])
def test_a_worker_names_the_client_to_another_that_trusts_it(header: str, remote: str) -> None:
    between = clients(web_forwarded_header=header)
    named = between.named_to_workers(request(remote, ("X-Forwarded-For", "203.0.113.9")))
    assert between.of(request("10.0.0.5", *named.items())) == between.of(request(remote))
