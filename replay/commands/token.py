"""`nextclick token`: a token for who asks a worker's web server.

Tested by tests/security/test_authentication.py.
"""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from model.errors import NextclickError
from replay.commands.options import Json
from stream.access.grants import POST, READ, ROLES
from stream.access.key_ring import read_keys
from stream.settings import load_settings

DAY_S = 86_400


def token(
    role: Annotated[
        list[str], typer.Option(help=f"{', '.join(ROLES)}; may be repeated: see deploy/docs/access.md")
    ],
    session: Annotated[
        str | None, typer.Option(help="the one session that it reads, or posts events of")
    ] = None,
    days: Annotated[float, typer.Option(min=0.0007, max=3660, help="until it ends")] = 1.0,
    holder: Annotated[str, typer.Option(help="who holds it, for people")] = "",
    as_json: Json = False,
) -> None:
    """Make a token, signed with the first key of web_keys_file; asks no worker.

    It cannot be called back before it ends, but by the removal of its key from the file.
    """
    from stream.access.tokens import make_token

    unknown = sorted(set(role) - set(ROLES))
    if unknown:
        raise typer.BadParameter(f"--role is one of {', '.join(ROLES)}, not {unknown[0]!r}")
    if session is not None and not set(role) <= {READ, POST}:
        raise typer.BadParameter(f"--session is of use with the roles {READ} and {POST} only")
    settings = load_settings()
    if settings.web_keys_file is None:
        raise NextclickError(
            "there is no key to sign a token with",
            "Without web_keys_file the workers ask for no token.",
            "openssl rand -hex 32 > web.keys; name it in NEXTCLICK_WEB_KEYS_FILE here and of the workers.",
        )
    key = read_keys(settings.web_keys_file)[0]
    made = make_token(key, role, days * DAY_S, session=session, holder=holder)
    if as_json:
        ends_s = int(time.time() + days * DAY_S)
        print(json.dumps({"token": made, "roles": sorted(set(role)), "session": session, "ends_s": ends_s}))
    else:
        print(made)
