"""Where other workers reach this worker's HTTP server: an address that travels in its Kafka client id.

Tested by tests/unit/stream/asking/test_owners.py.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import closing
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

SEPARATOR = "@"
# The header in which a proxy, or a worker that passes a request on, names the client.
FORWARDED_FOR = "X-Forwarded-For"


class WebAddress(BaseModel):
    """The setting of the address, for machines that reach each other by another one than `web_host`.

    >>> WebAddress(web_address="worker-0.nextclick-worker:6066").web_address
    'worker-0.nextclick-worker:6066'
    """

    web_address: str = Field(
        "",
        pattern=r"^$|^([A-Za-z0-9._-]{1,200}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$",
        description="host:port by which other workers ask this one; else web_host, or this machine's address",
    )


class _Reachable(Protocol):
    """The settings that say where a worker is."""

    @property
    def worker_id(self) -> str:
        """Its name."""

    @property
    def web_address(self) -> str:
        """The address as set."""

    @property
    def web_host(self) -> str:
        """What its server listens on."""

    @property
    def web_port(self) -> int:
        """The server's port."""

    @property
    def bootstrap_servers(self) -> str:
        """The brokers, towards which the machine's own address is looked for."""


def client_id(settings: _Reachable) -> str:
    """The Kafka client id of a worker: its name and its address."""
    return f"{settings.worker_id}{SEPARATOR}{address_of(settings)}"


def address_in(client_id: str) -> tuple[str, str] | None:
    """The name and the address in a client id, None where it has none.

    >>> address_in("worker-a@10.0.0.7:6066"), address_in("rdkafka")
    (('worker-a', '10.0.0.7:6066'), None)
    """
    name, found, address = client_id.rpartition(SEPARATOR)
    return (name, address) if found and name and address else None


def address_of(settings: _Reachable) -> str:
    """Where other workers reach this one: as set, or its host, or this machine's address to the brokers."""
    if settings.web_address:
        return settings.web_address
    host = settings.web_host
    try:
        is_any = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        is_any = not host
    if is_any:
        host = _own_address(settings.bootstrap_servers.split(",")[0])
    return f"[{host}]:{settings.web_port}" if ":" in host else f"{host}:{settings.web_port}"


def _own_address(broker: str) -> str:
    """The address of this machine on the way to a broker; its name where that cannot be said."""
    parts = urlsplit(f"//{broker}")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 9092, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, place = found[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            # Of UDP: nothing is sent.
            probe.connect(place)
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return socket.gethostname()
