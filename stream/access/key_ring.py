"""The keys that sign tokens: a file with one a line, of which the first signs and all are trusted.

A key is taken out of use by its removal from the file, which a running worker reads again when it changes. A
file that is damaged then changes nothing: the former keys stay, and a line in the log says why.
Tested by tests/unit/stream/access/test_tokens.py.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from pathlib import Path

from model.errors import NextclickError
from stream.access.watched_files import WatchedFiles
from stream.logs import happening

FEWEST_CHARACTERS = 32
MOST_KEYS = 8
MOST_BYTES = 1 << 16
logger = logging.getLogger(__name__)


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a file. Raises NextclickError when it has none, or one that could be guessed."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _no_keys(path, error.strerror or "unreadable") from None
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys or len(text) > MOST_BYTES or len(keys) > MOST_KEYS:
        raise _no_keys(path, f"it has {len(keys)} keys in {len(text):,} bytes; 1 to {MOST_KEYS} are allowed")
    short = [number for number, key in enumerate(keys, 1) if len(key) < FEWEST_CHARACTERS]
    if short:
        raise _no_keys(path, f"key {short[0]} has less than {FEWEST_CHARACTERS} characters")
    return keys


def _no_keys(path: Path, reason: str) -> NextclickError:
    return NextclickError(
        f"the keys of web_keys_file {path} cannot be used: {reason}",
        "Without them nobody's token can be made or checked.",
        f"Write one key a line: openssl rand -hex {FEWEST_CHARACTERS} > FILE; chmod 600 FILE.",
    )


class KeyRing:
    """The keys as the file has them now. Raises NextclickError when it cannot be used at first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watched = WatchedFiles([path])
        self._watched.have_changed()
        self._keys = read_keys(path)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the one that signs first."""
        if self._watched.have_changed():
            try:
                self._keys = read_keys(self._path)
            except NextclickError as error:
                logger.warning(
                    "the former keys of tokens stay: %s",
                    error.what,
                    extra=happening("keys_not_taken", error=error.what),
                )
            else:
                count = len(self._keys)
                logger.info("took up %d keys of tokens", count, extra=happening("keys_taken", count=count))
        return self._keys

    def derived(self, purpose: str) -> bytes:
        """A key for another purpose, from which no other follows."""
        return hmac.digest(self.keys[0], f"nextclick {purpose}".encode(), hashlib.sha256)
