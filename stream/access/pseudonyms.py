"""What viewers see in place of session ids: the same for the same session, and of no use to ask for it.

Tested by tests/unit/stream/access/test_tokens.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

MARK = "~"
BYTES = 9


class Pseudonyms:
    """Keyed names of sessions, the same on every worker that has the key.

    >>> names = Pseudonyms(b"key")
    >>> names.of("4711") == names.of("4711") != names.of("4712")
    True
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, session_id: str) -> str:
        """The name that is shown."""
        digest = hmac.digest(self._key, session_id.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return MARK + base64.urlsafe_b64encode(digest[:BYTES]).decode()
