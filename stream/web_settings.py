"""The settings of the worker's web server: where it listens, what it answers, how much of one client.

Tested by tests/unit/stream/web/test_guard.py.
"""

from __future__ import annotations

from pydantic import BaseModel, Field


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
    web_events: bool = Field(
        False, description="whether POST /api/events takes events, as the page sends them"
    )
    web_event_skew_s: float = Field(
        5, ge=0, le=3600, description="how far a posted event's own time may be from the server's clock"
    )
