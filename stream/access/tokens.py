"""Tokens: JSON Web Tokens signed with HMAC-SHA256, so that a shop's own programs can make them, too.

Claims: `roles`, a list; `exp`, when it ends, in epoch seconds, always; `session`, the one session that it is
for, if it is one; `sub`, who holds it. Any other algorithm, "none" as well, is refused.
Tested by tests/unit/stream/access/test_tokens.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jwt
from jwt.types import Options

from stream.access.grants import ROLES, WORKER, Grant

ALGORITHM = "HS256"
MOST_CHARACTERS = 4096
# Of the clocks of those who make tokens.
LEEWAY_S = 5
# Of a worker's word to another one.
WORKER_S = 30


class RefusedToken(Exception):
    """Why a token grants nothing; its words repeat nothing of the token."""


def make_token(
    key: bytes, roles: Iterable[str], lasts_s: float, *, session: str | None = None, holder: str = ""
) -> str:
    """A token that grants these roles for so long.

    >>> grant_of(make_token(b"0" * 32, ["read"], 60, session="4711"), [b"0" * 32]).session
    '4711'
    """
    return _signed(key, lasts_s, roles=sorted(roles), session=session, sub=holder or None)


def make_worker_token(key: bytes, worker_id: str, asked: str) -> str:
    """The word of a worker that it has checked who asks; it is for this one request `asked` alone."""
    return _signed(key, WORKER_S, roles=[WORKER], sub=worker_id, asked=asked)


def _signed(key: bytes, lasts_s: float, **claims: Any) -> str:
    now_s = int(time.time())
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({**given, "iat": now_s, "exp": int(now_s + lasts_s)}, key, algorithm=ALGORITHM)


def grant_of(token: str, keys: Sequence[bytes], asked: Callable[[], str] = str) -> Grant:
    """What a token grants. `asked` says what is asked, to which a worker's token is bound.

    Raises RefusedToken when it has ended, none of the keys has signed it, or it is none.
    """
    if len(token) > MOST_CHARACTERS:
        raise RefusedToken(f"a token has at most {MOST_CHARACTERS} characters")
    claims = _claims(token, keys)
    roles, session, holder = claims.get("roles"), claims.get("session"), claims.get("sub", "")
    if (
        not isinstance(roles, list)
        or not all(role in (*ROLES, WORKER) for role in roles)
        or not (session is None or (isinstance(session, str) and session))
        or not isinstance(holder, str)
    ):
        raise RefusedToken(f"the token's roles are to be of {', '.join(ROLES)}, and its session a text")
    if WORKER in roles and claims.get("asked") != asked():
        raise RefusedToken("the token of a worker is for another request")
    return Grant(frozenset(roles), session, holder, float(claims["exp"]))


def _claims(token: str, keys: Sequence[bytes]) -> dict[str, Any]:
    for key in keys:
        try:
            # When it was made is not asked: the clocks of two machines may differ.
            options: Options = {"require": ["exp"], "verify_iat": False}
            return dict(jwt.decode(token, key, algorithms=[ALGORITHM], leeway=LEEWAY_S, options=options))
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise RefusedToken("the token has ended; ask for a new one") from None
        except jwt.ImmatureSignatureError:
            raise RefusedToken("the token is not valid yet; compare the clocks") from None
        except jwt.MissingRequiredClaimError:
            raise RefusedToken("the token does not say when it ends: exp") from None
        except (jwt.InvalidTokenError, ValueError, RecursionError, OverflowError):
            raise RefusedToken("the token cannot be read") from None
    raise RefusedToken("the token is signed by none of this worker's keys")
