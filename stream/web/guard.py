"""Checks every request before its view and adds the security headers to every answer.

Only GET and HEAD pass, except on paths opened for writing. Paths, headers and bodies are bounded,
and so are the requests a second of one client, each by what it costs. A worker on the loopback
interface answers only to the names of that interface, since a page elsewhere whose name resolves to
this machine (DNS rebinding) sends its own name. A refusal is JSON {"error": …} and repeats nothing of
the request.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from stream.logs import happening
from stream.settings import Settings
from stream.web.rate_limit import RateLimit
from stream.web_address import FORWARDED_FOR
from stream.web_settings import networks_in

# Scripts, styles and data only from this worker, none inline; no frame around its pages.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; style-src 'self'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Without it aiohttp sends its name, Python's and both versions.
    "Server": "nextclick",
}
READING = frozenset({"GET", "HEAD"})
MAX_BODY_BYTES = 64 << 10
BODY_TIMEOUT_S = 10.0
# A client may send this many seconds' worth of its rate at once.
BURST_S = 2.0
# What a request costs beside the others, which cost 1: by the work that answers it.
COSTS: Mapping[str, float] = {"/metrics": 5, "/api/why": 20, "/api/models": 5, "/api/quality": 5}
DEAR_AT_ONCE = 10
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
logger = logging.getLogger(__name__)


def json_error(status: int, error: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A refusal with its reason and the security headers.

    >>> json_error(404, "not here").text
    '{"error":"not here"}'
    """
    return web.Response(
        status=status,
        body=orjson.dumps({"error": error}),
        content_type="application/json",
        charset="utf-8",
        headers={**SECURITY_HEADERS, "Cache-Control": "no-store", **(headers or {})},
    )


class WebGuard:
    """Refuses requests or passes them on: `handle` is an aiohttp middleware, `add_headers` a signal."""

    def __init__(self, settings: Settings, *, limit: RateLimit | None = None) -> None:
        named = {name.strip().lower() for name in settings.web_allowed_hosts.split(",")} - {""}
        self._names: frozenset[str] | None = frozenset(named) or None
        if is_loopback(settings.web_host):
            self._names = LOOPBACK_NAMES | named | {settings.web_host.lower()}
        rate = settings.web_requests_per_s
        # Whatever the rate is, a client can ask for something dear several times at once.
        self._most_cost = max(1.0, BURST_S * rate / DEAR_AT_ONCE)
        self._limit = RateLimit(rate, max(1.0, BURST_S * rate)) if limit is None else limit
        self.connections_per_client = settings.web_connections_per_client
        self._proxies = networks_in(settings.web_trusted_proxies)
        self._writing: dict[str, frozenset[str]] = {}

    def open_for_writing(self, path: str, methods: Iterable[str] = ("POST",)) -> None:
        """Let these methods through to exactly this path; all other paths stay read-only.

        A request that passes is JSON of at most MAX_BODY_BYTES, read completely, and comes from a page
        of this worker or from no page.
        """
        self._writing[path] = frozenset(methods)

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of `handler`, or a refusal."""
        try:
            return self._refusal(request) or await self._body_refusal(request) or await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return _closing(json_error(413, f"a body has at most {MAX_BODY_BYTES} bytes"))
        except web.HTTPMethodNotAllowed as answer:
            return json_error(405, "this method is not allowed here", {"Allow": answer.headers["Allow"]})
        except web.HTTPException as answer:
            if answer.status < 400:
                raise
            return json_error(answer.status, answer.reason.lower())
        except ConnectionError:
            raise
        except Exception:
            # A failing view fails its request only; the worker goes on.
            logger.exception(
                "the web view of %r failed", request.path, extra=happening("view_failed", path=request.path)
            )
            return json_error(500, "the view failed; the worker's log says why")

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the security headers to an answer that is about to be sent."""
        response.headers.update(SECURITY_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")

    def _refusal(self, request: web.Request) -> web.Response | None:
        """The refusal of this request by its head, None if it passes."""
        # A method that is not answered makes no work.
        is_read = request.method in READING
        cost = min(COSTS.get(request.path, 1), self._most_cost) if is_read else 1
        wait_s = self._limit.wait_s(self.client_of_request(request), cost)
        if wait_s:
            after = str(math.ceil(wait_s))
            return _closing(json_error(429, "too many requests from this client", {"Retry-After": after}))
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not self._is_named(_name_of(f"//{hosts[0]}")):
            return _closing(json_error(421, "this worker is not called that; see web_allowed_hosts"))
        allowed = READING | self._writing.get(request.path, frozenset())
        if request.method not in allowed:
            named = ", ".join(sorted(allowed))
            return _closing(json_error(405, "this method is not allowed here", {"Allow": named}))
        if request.method in READING:
            return _closing(json_error(413, "no body is taken here")) if request.body_exists else None
        return self._write_refusal(request)

    def is_trusted(self, remote: str | None) -> bool:
        """Whether an address is one of the proxies whose word on their clients is taken."""
        try:
            address = ipaddress.ip_address((remote or "").strip())
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._proxies)

    def client_of_request(self, request: web.BaseRequest) -> str:
        """The client: who connects, or behind trusted proxies the nearest address that is none of them.

        What stands left of it in the header, the client may have written itself.
        """
        remote = request.remote
        named = ",".join(request.headers.getall(FORWARDED_FOR, [])).split(",")
        while named and self.is_trusted(remote):
            remote = _without_port(named.pop().strip()) or remote
        return client_of(remote)

    def _write_refusal(self, request: web.Request) -> web.Response | None:
        origin = request.headers.get("Origin")
        if origin is not None and _place_of(origin) != request.headers["Host"].lower():
            return _closing(json_error(403, "a page of another origin may not write here"))
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return _closing(json_error(403, "a page of another origin may not write here"))
        if request.content_type != "application/json" or "Content-Encoding" in request.headers:
            return _closing(json_error(415, "the body is to be plain application/json"))
        if (request.content_length or 0) > MAX_BODY_BYTES:
            return _closing(json_error(413, f"a body has at most {MAX_BODY_BYTES} bytes"))
        return None

    async def _body_refusal(self, request: web.Request) -> web.Response | None:
        """Read the body, so that no view waits for it. Returns a refusal when it does not come in time."""
        if request.method in READING:
            return None
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                # aiohttp keeps it for the view.
                await request.read()
        except TimeoutError:
            return _closing(json_error(408, f"the body did not come in {BODY_TIMEOUT_S:.0f} s"))
        return None

    def _is_named(self, name: str | None) -> bool:
        return name is not None and (self._names is None or name in self._names)


def is_loopback(host: str) -> bool:
    """Whether a worker that listens on `host` can only be reached from its own machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


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


def _name_of(address: str) -> str | None:
    """The host name in an address without its port, None if it has none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _without_port(address: str) -> str:
    """An address as some proxies write it, without the port.

    >>> _without_port("192.0.2.7:51234"), _without_port("[2001:db8::1]:443"), _without_port("2001:db8::1")
    ('192.0.2.7', '2001:db8::1', '2001:db8::1')
    """
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _place_of(origin: str) -> str | None:
    """Host and port of an origin, None where it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _closing(response: web.Response) -> web.Response:
    """Close the connection after this answer."""
    response.force_close()
    return response
