"""When certificates end.

Tested by tests/security/test_certificates.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from model.errors import NextclickError

DAY_S = 86_400.0


@dataclass(frozen=True)
class Validity:
    """From when until when all certificates of a file hold, in epoch seconds."""

    begins_s: float
    ends_s: float

    def days_left(self, now_s: float | None = None) -> float:
        """Until the first of them ends; negative where it has.

        >>> Validity(0, 2 * DAY_S).days_left(now_s=DAY_S)
        1.0
        """
        return (self.ends_s - (time.time() if now_s is None else now_s)) / DAY_S


def validity_of(path: Path, *, of_authorities: bool = False) -> Validity:
    """The validity of a PEM file. Raises NextclickError.

    Of a certificate with its chain that of all together, but for roots, which clients have themselves; of
    authorities, of which one may have come after another, that of any.
    """
    # Slow to import, and only needed with TLS.
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise NextclickError(
            f"the certificates in {path} cannot be read: {error}",
            "When they end is not known.",
            "Give PEM certificates that the worker's user may read.",
        ) from None
    chain = found[:1] + [one for one in found[1:] if one.subject != one.issuer]
    begins_S = [one.not_valid_before_utc.timestamp() for one in (found if of_authorities else chain)]
    ends_S = [one.not_valid_after_utc.timestamp() for one in (found if of_authorities else chain)]
    if of_authorities:
        return Validity(min(begins_S), max(ends_S))
    return Validity(max(begins_S), min(ends_S))
