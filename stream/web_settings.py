"""The settings of the worker's web server: where it listens, what it answers, how much of one client.

Tested by tests/unit/stream/web/test_guard.py.
"""

from __future__ import annotations

import ipaddress

from pydantic import BaseModel, Field, field_validator


class WebSettings(BaseModel):
    """The settings of the web server.

    >>> WebSettings().web_port
    6066
    """

    web_host: str = "127.0.0.1"
    web_port: int = Field(6066, ge=1, le=65_535)
    web_allowed_hosts: str = Field(
        "", description="names it answers to, with commas: beside the loopback's, or alone if given elsewhere"
    )
    web_requests_per_s: float = Field(
        100, gt=0, le=1_000_000, description="of one client; twice as many at once"
    )
    web_connections_per_client: int = Field(
        64, ge=1, le=256, description="open at once, of one address; 256 in all, trusted proxies unbounded"
    )
    web_trusted_proxies: str = Field(
        "", description="addresses or networks, with commas, whose X-Forwarded-For names the client"
    )
    web_events: bool = Field(
        False, description="whether POST /api/events takes events, as the page sends them"
    )
    web_event_skew_s: float = Field(
        5, ge=0, le=3600, description="how far a posted event's own time may be from the server's clock"
    )

    @field_validator("web_trusted_proxies")
    @classmethod
    def _are_networks(cls, named: str) -> str:
        networks_in(named)
        return named


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_in(named: str) -> tuple[Network, ...]:
    """The networks of a list with commas. Raises ValueError for anything else.

    >>> networks_in("10.0.0.1, fd00::/8")
    (IPv4Network('10.0.0.1/32'), IPv6Network('fd00::/8'))
    """
    return tuple(ipaddress.ip_network(one.strip()) for one in named.split(",") if one.strip())
