"""Checks every request before its view and adds the security headers to every answer.

Only GET and HEAD pass, except on paths opened for writing. Where there are keys of tokens, each request
needs one that has a role of its path. Paths, headers and bodies are bounded,
and so are the requests a second of one client, each by what it costs. A worker on the loopback
interface answers only to the names of that interface, since a page elsewhere whose name resolves to
this machine (DNS rebinding) sends its own name. A refusal is JSON in three parts, error, meaning and do,
and repeats nothing of the request.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from stream.access.clients import CLIENT, Clients
from stream.access.credentials import CHALLENGE, Credentials
from stream.access.grants import GRANT, GRANT_NOW, NOTHING, OPERATE
from stream.access.refusal_log import RefusalLog
from stream.access.tokens import RefusedToken
from stream.logs import happening
from stream.settings import Settings
from stream.web.rate_limit import RateLimit
from stream.web_settings import is_address, is_loopback

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
COSTS: Mapping[str, float] = {
    "/metrics": 5,
    "/api/why": 20,
    "/api/tries": 20,
    "/api/models": 5,
    "/api/quality": 5,
}
DEAR_AT_ONCE = 10
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
logger = logging.getLogger(__name__)


# What to do about a refusal; of a status that is not here, /openapi.json says what there is.
REMEDIES: Mapping[int, str] = {
    403: "Send it from a page of this worker, or from a program, which sends no Origin.",
    405: "Use a method that the header Allow names.",
    408: "Send head and body without a pause.",
    413: f"Send a body of at most {MAX_BODY_BYTES:,} bytes, and none with GET.",
    415: "Send Content-Type: application/json, without Content-Encoding.",
    421: "Ask by a name of this worker, or have the name added to NEXTCLICK_WEB_ALLOWED_HOSTS.",
    429: "Try again after Retry-After seconds, or have NEXTCLICK_WEB_REQUESTS_PER_S raised.",
    431: "Shorten the address or the headers.",
    500: "Look for the request's traceback in the worker's log and report it; other requests are answered.",
}
TOKEN_REMEDY = "Ask with a token that grants it: nextclick token --role ROLE makes one."
OTHER_REMEDY = "Compare the request with /openapi.json of this worker."


def json_error(
    status: int, error: str, headers: Mapping[str, str] | None = None, remedy: str | None = None
) -> web.Response:
    """A refusal in three parts with the security headers.

    >>> list(orjson.loads(json_error(405, "this method is not allowed here").body).values())[1:]
    ['Nothing was read or changed.', 'Use a method that the header Allow names.']
    """
    meaning = "The answer was not made." if status >= 500 else "Nothing was read or changed."
    remedy = remedy or REMEDIES.get(status, OTHER_REMEDY)
    return web.Response(
        status=status,
        body=orjson.dumps({"error": error, "meaning": meaning, "do": remedy}),
        content_type="application/json",
        charset="utf-8",
        headers={**SECURITY_HEADERS, "Cache-Control": "no-store", **(headers or {})},
    )


class WebGuard:
    """Refuses requests or passes them on: `handle` is an aiohttp middleware, `add_headers` a signal."""

    def __init__(self, settings: Settings, *, limit: RateLimit | None = None) -> None:
        named = {name.strip().lower() for name in settings.web_allowed_hosts.split(",")} - {""}
        self._names: frozenset[str] | None = frozenset(named) or None
        # ".shop.example" stands for every name that ends so.
        self._endings = tuple(name for name in named if name.startswith("."))
        if is_loopback(settings.web_host):
            self._names = LOOPBACK_NAMES | named | {settings.web_host.lower()}
        rate = settings.web_requests_per_s
        # Whatever the rate is, a client can ask for something dear several times at once.
        self._most_cost = max(1.0, BURST_S * rate / DEAR_AT_ONCE)
        self._limit = RateLimit(rate, max(1.0, BURST_S * rate)) if limit is None else limit
        self.connections_per_client = settings.web_connections_per_client
        self.clients = Clients(settings)
        self._writing: dict[str, frozenset[str]] = {}
        self.credentials = Credentials(settings)
        self._refusals = RefusalLog()
        self.settings = settings
        self.is_open_to_others = not (self.credentials.are_asked or is_loopback(settings.web_host))
        # Path, as its route has it → roles of which one is needed.
        self._roles: dict[str, tuple[str, ...]] = {}

    def open_for_writing(self, path: str, methods: Iterable[str] = ("POST",)) -> None:
        """Let these methods through to exactly this path; all other paths stay read-only.

        A request that passes is JSON of at most MAX_BODY_BYTES, read completely, and comes from a page
        of this worker or from no page.
        """
        self._writing[path] = frozenset(methods)

    def open_to(self, path: str, roles: tuple[str, ...]) -> None:
        """Answer this path, with the names of its parts in braces, to tokens that have one of the roles."""
        self._roles[path] = roles

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
        client = request[CLIENT] = self.clients.of(request)
        wait_s = self._limit.wait_s(client, cost)
        if wait_s:
            after = str(math.ceil(wait_s))
            return _closing(json_error(429, "too many requests from this client", {"Retry-After": after}))
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not self._is_named(_name_of(f"//{hosts[0]}")):
            return _closing(json_error(421, "this worker is not called that; see web_allowed_hosts"))
        refused = self._token_refusal(request)
        if refused is not None:
            return refused
        allowed = READING | self._writing.get(request.path, frozenset())
        if request.method not in allowed:
            named = ", ".join(sorted(allowed))
            return _closing(json_error(405, "this method is not allowed here", {"Allow": named}))
        if request.method in READING:
            return _closing(json_error(413, "no body is taken here")) if request.body_exists else None
        return self._write_refusal(request)

    def _token_refusal(self, request: web.Request) -> web.Response | None:
        """The refusal of a request whose token does not grant it; what it grants is kept with the request."""
        resource = request.match_info.route.resource
        if resource is None:
            # There is no such path: the router says so.
            return None
        # A path of which nothing is said is for operators.
        roles = self._roles.get(resource.canonical, (OPERATE,))
        try:
            grant = self.credentials.grant_of(request, roles)
        except RefusedToken as refused:
            return self._refused_token(request, 401, str(refused), {"WWW-Authenticate": CHALLENGE})
        request[GRANT] = grant
        request[GRANT_NOW] = lambda: self.credentials.grant_of(request, roles)
        if not any(grant.has(role) for role in roles):
            return self._refused_token(request, 403, f"the token has none of the roles {', '.join(roles)}")
        if not grant.is_for(request.match_info.get("session_id", grant.session or "")):
            return self._refused_token(request, 403, "the token is for another session")
        return None

    def _refused_token(
        self, request: web.Request, status: int, why: str, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        if self._refusals.is_due(why):
            client, count = request[CLIENT], self._refusals.counts[why]
            logger.info(
                "refused a request of %s: %s; %d since the start",
                client,
                why,
                count,
                extra=happening("token_refused", client=client, error=why, count=count),
            )
        remedy = TOKEN_REMEDY if self.credentials.are_asked else None
        return json_error(status, why, headers, remedy)

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
        if name is None or self._names is None:
            return name is not None
        return name in self._names or name.endswith(self._endings)


class ProbeGuard(WebGuard):
    """The guard of web_probe_port: no token, and an address of the machine for its name.

    Probes ask by addresses. No page elsewhere can: it would have to come from that address.
    """

    def _is_named(self, name: str | None) -> bool:
        return super()._is_named(name) or is_address(name or "")

    def _token_refusal(self, request: web.Request) -> web.Response | None:
        request[GRANT] = NOTHING
        return None


def _name_of(address: str) -> str | None:
    """The host name in an address without its port, None if it has none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


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
