"""The token of a request, and what it grants.

A program sends it as `Authorization: Bearer TOKEN`; a browser asks its user, whose password is the token
(`Basic`), and sends it with everything that the page loads, its stream of events as well.
Tested by tests/unit/stream/access/test_credentials.py and tests/security/test_authentication.py.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Protocol

from yarl import URL

from stream.access.grants import ANYBODY, EVERYTHING, NOTHING, OPERATE, Grant
from stream.access.key_ring import KeyRing
from stream.access.pseudonyms import Pseudonyms
from stream.access.tokens import WORKER_S, RefusedToken, grant_of, make_token, make_worker_token
from stream.web_settings import WebSettings

AUTHORIZATION = "Authorization"
CHALLENGE = 'Basic realm="nextclick: any name, the token as password", charset="UTF-8"'
NONE_GIVEN = "a token is needed: Authorization: Bearer TOKEN"


class AskedFor(Protocol):
    """The part of a request that is looked at."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""

    @property
    def method(self) -> str:
        """Its method."""

    @property
    def rel_url(self) -> URL:
        """Its path and query."""


class Credentials:
    """What requests may do: everything where there is no file of keys, else what their tokens grant."""

    def __init__(self, settings: WebSettings) -> None:
        self._ring = None if settings.web_keys_file is None else KeyRing(settings.web_keys_file)

    @property
    def are_asked(self) -> bool:
        """Whether one who asks needs a token."""
        return self._ring is not None

    def grant_of(self, request: AskedFor, roles: tuple[str, ...]) -> Grant:
        """What the request may do; nothing is asked for what is open to anybody. Raises RefusedToken."""
        if self._ring is None:
            return EVERYTHING
        if ANYBODY in roles:
            return NOTHING
        token = _token_in(request.headers.get(AUTHORIZATION, ""))
        return grant_of(token, self._ring.keys, lambda: asked(request))

    def of_worker(self, worker_id: str, request: AskedFor) -> dict[str, str]:
        """The headers by which another worker believes this one that the request may be answered."""
        if self._ring is None:
            return {}
        return {AUTHORIZATION: f"Bearer {make_worker_token(self._ring.keys[0], worker_id, asked(request))}"}

    def of_operator(self, worker_id: str) -> dict[str, str]:
        """The headers by which the other processes of this worker tell it what operators may see."""
        if self._ring is None:
            return {}
        token = make_token(self._ring.keys[0], [OPERATE], WORKER_S, holder=worker_id)
        return {AUTHORIZATION: f"Bearer {token}"}

    def pseudonyms(self) -> Pseudonyms | None:
        """What viewers see in place of session ids; None where everybody sees these."""
        return None if self._ring is None else Pseudonyms(self._ring.derived("pseudonyms"))


def asked(request: AskedFor) -> str:
    """What a worker's token is bound to."""
    return f"{request.method} {request.rel_url.raw_path_qs}"


def _token_in(header: str) -> str:
    """The token of an Authorization header. Raises RefusedToken."""
    kind, _, value = header.strip().partition(" ")
    if kind.lower() == "bearer" and value:
        return value.strip()
    if kind.lower() == "basic" and value:
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise RefusedToken("the name and password cannot be read") from None
    raise RefusedToken(NONE_GIVEN)
