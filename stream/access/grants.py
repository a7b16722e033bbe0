"""Roles, and what one who asks may do.

Tested by tests/unit/stream/access/test_tokens.py and tests/security/test_authentication.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp.web import RequestKey

# The page and its data, items and models, with pseudonyms in place of session ids.
VIEW = "view"
# Every session, and what VIEW shows, with the true ids. With a session of its own: that one alone.
READ = "read"
# Events by POST. With a session of its own: those of that one alone.
POST = "post"
# What operators look at: metrics, status, quality, models.
OPERATE = "operate"
# Another worker of the group, which has checked who asks it.
WORKER = "worker"
ROLES = (VIEW, READ, POST, OPERATE)
# Anybody: probes.
ANYBODY = ""
_ALSO = {READ: frozenset({VIEW}), WORKER: frozenset({READ})}


@dataclass(frozen=True)
class Grant:
    """What a request may do: its roles, and the one session that they are for, if it is one.

    >>> Grant(frozenset({READ}), session="4711").reads("4711"), Grant(frozenset({READ}), "4711").reads("4712")
    (True, False)
    """

    roles: frozenset[str]
    session: str | None = None
    # Who holds the token, as its maker says.
    holder: str = field(default="", compare=False)
    # When the token ends, in epoch seconds.
    ends_s: float = field(default=math.inf, compare=False)

    def has(self, role: str) -> bool:
        """Whether it has a role, of its own or by another one. A session's token shows nobody else's page."""
        if role == ANYBODY or role in self.roles:
            return True
        return self.session is None and any(role in _ALSO.get(own, ()) for own in self.roles)

    def is_for(self, session_id: str) -> bool:
        """Whether the session is not closed to it."""
        return self.session is None or self.session == session_id

    def reads(self, session_id: str) -> bool:
        """Whether it may read this session."""
        return self.has(READ) and self.is_for(session_id)

    @property
    def sees_ids(self) -> bool:
        """Whether the true ids of all sessions are shown to it."""
        return self.session is None and self.has(READ)


EVERYTHING = Grant(frozenset({*ROLES, WORKER}))
NOTHING = Grant(frozenset())
# What the guard has found a request to be granted.
GRANT = RequestKey("grant", Grant)
# Asks again for what a request may do, while it is being answered; raises RefusedToken.
GRANT_NOW: RequestKey[Callable[[], Grant]] = RequestKey("grant_now", Callable)  # type: ignore[arg-type]
