"""Requests of this project's own programs to a worker: with a token of their own, where they have its keys.

Tested by tests/security/test_authentication.py.
"""

from __future__ import annotations

import urllib.request
from typing import Any

from stream.access.credentials import AUTHORIZATION
from stream.access.key_ring import read_keys
from stream.access.tls import client_context
from stream.web_settings import WebSettings

OWN_TOKEN_S = 60


def open_worker(settings: WebSettings, url: str, role: str, timeout_s: float, *, host: str = "") -> Any:
    """The answer of a worker, to be closed by who asks. Raises OSError, as urlopen does, and NextclickError.

    `host` is the name it is asked by, where that is not its address. The token is made from the settings'
    file of keys, which the machines of one group share. No proxy is asked: it would see the token.
    """
    request = urllib.request.Request(url)
    if host:
        request.add_unredirected_header("Host", host)
    context = client_context(settings) if url.startswith("https:") else None
    if settings.web_keys_file is not None:
        # The library of tokens is slow to import, and most commands ask for none.
        from stream.access.tokens import make_token

        key = read_keys(settings.web_keys_file)[0]
        request.add_unredirected_header(AUTHORIZATION, f"Bearer {make_token(key, [role], OWN_TOKEN_S)}")
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers).open(request, timeout=timeout_s)


def own_address(settings: WebSettings) -> str:
    """Where a worker of these settings answers, for programs beside it.

    >>> own_address(WebSettings(web_port=6067))
    'http://127.0.0.1:6067'
    """
    return f"{settings.web_scheme}://{settings.web_own_host}:{settings.web_port}"
