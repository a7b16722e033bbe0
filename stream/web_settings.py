"""The settings of the worker's web server: where it listens, what it answers, how much of one client.

Tested by tests/unit/stream/web/test_guard.py.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

# An unspecified address is listened at, not connected to.
EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class WebSettings(BaseModel):
    """The settings of the web server.

    >>> WebSettings().web_port
    6066
    """

    web_host: str = "127.0.0.1"
    web_port: int = Field(6066, ge=1, le=65_535)
    web_allowed_hosts: str = Field(
        "", description="names, or .endings of names, with commas: beside the loopback's, or alone elsewhere"
    )
    web_requests_per_s: float = Field(
        100, gt=0, le=1_000_000, description="of one client; twice as many at once"
    )
    web_connections_per_client: int = Field(
        64, ge=1, le=256, description="open at once, of one address; 256 in all, trusted proxies unbounded"
    )
    web_trusted_proxies: str = Field(
        "", description="addresses or networks, with commas, whose word on their clients is taken, in"
    )
    web_forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        "X-Forwarded-For", description="the header that they write; the other one is not read"
    )
    web_events: bool = Field(
        False, description="whether POST /api/events takes events, as the page sends them"
    )
    web_event_skew_s: float = Field(
        5, ge=0, le=3600, description="how far a posted event's own time may be from the server's clock"
    )

    web_keys_file: Path | None = Field(
        None, description="keys that sign tokens, one a line; with it who asks needs one (nextclick token)"
    )

    web_tls_certificate_file: Path | None = Field(
        None, description="PEM certificate: it answers by TLS alone; read again when the file changes"
    )
    web_tls_key_file: Path | None = Field(None, description="its private key, without a password")
    web_tls_ca_file: Path | None = Field(
        None, description="PEM certificates of the authority of other workers, and with the next of clients"
    )
    web_tls_clients: bool = Field(False, description="whether clients need a certificate of this authority")
    web_probe_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="in clear: /health, /ready and /metrics are answered there, too; each process has one",
    )

    @property
    def web_scheme(self) -> str:
        """The scheme of the server's addresses."""
        return "http" if self.web_tls_certificate_file is None else "https"

    @property
    def web_first_name(self) -> str:
        """The first of web_allowed_hosts, by which workers are asked; "" where none is set."""
        return self.web_allowed_hosts.split(",")[0].strip()

    @property
    def web_own_host(self) -> str:
        """The host of an address by which programs of the same machine reach the server.

        >>> WebSettings(web_host="0.0.0.0").web_own_host, WebSettings(web_host="::").web_own_host
        ('127.0.0.1', '[::1]')
        """
        host = EVERYWHERE.get(self.web_host, self.web_host)
        return f"[{host}]" if ":" in host else host

    @field_validator("web_trusted_proxies")
    @classmethod
    def _are_networks(cls, named: str) -> str:
        networks_in(named)
        return named

    @model_validator(mode="after")
    def _fit_each_other(self) -> Self:
        if bool(self.web_tls_certificate_file) != bool(self.web_tls_key_file):
            raise ValueError("web_tls_certificate_file, web_tls_key_file: set both or none")
        if self.web_tls_clients and not (self.web_tls_certificate_file and self.web_tls_ca_file):
            raise ValueError("web_tls_clients: needs web_tls_certificate_file and web_tls_ca_file")
        if self.web_probe_port == self.web_port:
            raise ValueError("web_probe_port: is web_port; leave it out, or give another one")
        return self


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_in(named: str) -> tuple[Network, ...]:
    """The networks of a list with commas. Raises ValueError for anything else.

    >>> networks_in("10.0.0.1, fd00::/8")
    (IPv4Network('10.0.0.1/32'), IPv6Network('fd00::/8'))
    """
    return tuple(ipaddress.ip_network(one.strip()) for one in named.split(",") if one.strip())


def is_loopback(host: str) -> bool:
    """Whether a worker that listens on `host` can only be reached from its own machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_address(host: str) -> bool:
    """Whether this is the address of a machine, and no name.

    >>> is_address("10.0.0.7"), is_address("::1"), is_address("shop.example")
    (True, True, False)
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
