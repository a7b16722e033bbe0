"""Who asks: the address that connects, or the client that a trusted proxy names.

Tested by tests/unit/stream/access/test_clients.py and tests/unit/stream/web/test_guard.py.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from aiohttp.web import RequestKey

from stream.web_address import FORWARDED_FOR
from stream.web_settings import WebSettings, networks_in

FORWARDED = "Forwarded"
UNKNOWN = "unknown"
# To whom the guard has counted a request.
CLIENT = RequestKey("client", str)


class Clients:
    """Tells clients apart, for limits. One header is read, the one that the proxies write.

    A proxy passes on unseen what a client wrote into the other one.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._proxies = networks_in(settings.web_trusted_proxies)
        self._header = settings.web_forwarded_header

    def is_trusted(self, remote: str | None) -> bool:
        """Whether an address is one of the proxies whose word on their clients is taken."""
        try:
            address = ipaddress.ip_address((remote or "").strip())
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._proxies)

    def address_of(self, request: Any) -> str:
        """The address of who connects, or behind trusted proxies the nearest address that is none of them.

        What stands left of it in the header, the client may have written itself.
        """
        remote = request.remote or ""
        if not self.is_trusted(remote):
            return remote
        if self._header == FORWARDED:
            named = [element.get("for") or UNKNOWN for element in request.forwarded]
        else:
            named = ",".join(request.headers.getall(FORWARDED_FOR, [])).split(",")
        while named and self.is_trusted(remote):
            remote = without_port(named.pop().strip()) or remote
        return remote

    def of(self, request: Any) -> str:
        """The client to whom a request is counted."""
        return client_of(self.address_of(request))

    def named_to_workers(self, request: Any) -> dict[str, str]:
        """The header in which a worker names the client to the one that it passes the request on to."""
        address = self.address_of(request)
        if self._header != FORWARDED:
            return {FORWARDED_FOR: address} if address else {}
        shown = f'"[{address}]"' if ":" in address else f'"{address}"'
        return {FORWARDED: f"for={shown}"} if client_of(address) else {}


def client_of(remote: str | None) -> str:
    """The client to whom a request is counted: an IPv4 address, or the /64 network of an IPv6 address.

    One client usually owns a whole /64 network.

    >>> client_of("2001:db8::1:2:3:4")
    '2001:db8::/64'
    """
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


def without_port(address: str) -> str:
    """An address as some proxies write it, without the port.

    >>> without_port("192.0.2.7:51234"), without_port("[2001:db8::1]:443"), without_port("2001:db8::1")
    ('192.0.2.7', '2001:db8::1', '2001:db8::1')
    """
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
