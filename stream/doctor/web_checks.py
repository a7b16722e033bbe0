"""Checks of who may ask the worker's web server. They change nothing.

Tested by tests/unit/stream/doctor/test_web_checks.py.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator

from model.errors import NextclickError
from stream.access.certificates import validity_of
from stream.access.key_ring import read_keys
from stream.access.tls import server_context
from stream.doctor.check_result import CheckResult, Verdict, failed
from stream.settings import Settings
from stream.web_settings import is_loopback

# A certificate of 90 days is usually renewed when 30 are left.
SOON_DAYS = 14


def web_checks(settings: Settings) -> Iterator[CheckResult]:
    """Whether those beyond this machine are asked for a token, and for the worker's name."""
    yield _tokens(settings)
    yield _names(settings)
    yield _certificate(settings)


def _tokens(settings: Settings) -> CheckResult:
    file = settings.web_keys_file
    if file is None:
        if is_loopback(settings.web_host):
            return CheckResult("web tokens", "PASS", f"none asked for; {settings.web_host} is this machine's")
        found = f"nobody is asked for a token, and {settings.web_host} can be reached from other machines"
        return CheckResult("web tokens", "WARN", found, "NEXTCLICK_WEB_KEYS_FILE: see deploy/docs/access.md")
    try:
        count = len(read_keys(file))
        others_read = file.stat().st_mode & stat.S_IROTH
    except NextclickError as error:
        return failed("web tokens", error)
    except OSError as error:
        return CheckResult("web tokens", "FAIL", f"{file}: {error.strerror}", "give the worker its keys")
    if others_read:
        found = f"every user of this machine may read the keys in {file}"
        return CheckResult("web tokens", "WARN", found, f"chmod o-r {file}")
    return CheckResult("web tokens", "PASS", f"asked for; {count} keys in {file}")


def _names(settings: Settings) -> CheckResult:
    """A page elsewhere whose name is made to point here (DNS rebinding) sends its own name."""
    if is_loopback(settings.web_host):
        return CheckResult("web names", "PASS", "the loopback's, and those of web_allowed_hosts")
    if not settings.web_allowed_hosts.strip(" ,"):
        found = "every name is answered to, so a page elsewhere can read what this machine's browser reaches"
        remedy = "NEXTCLICK_WEB_ALLOWED_HOSTS=NAME,… by which it is asked"
        return CheckResult("web names", "WARN", found, remedy)
    return CheckResult("web names", "PASS", settings.web_allowed_hosts)


def _certificate(settings: Settings) -> CheckResult:
    """Whether the certificate belongs to its key and holds long enough; the authority's as well."""
    check, file = "web certificate", settings.web_tls_certificate_file
    if file is None:
        return CheckResult(check, "PASS", "none: the web server answers in clear")
    ends: list[str] = []
    verdict: Verdict = "PASS"
    try:
        # Refuses a certificate of another key.
        server_context(settings)
        for path in (file, settings.web_tls_ca_file):
            if path is None:
                continue
            validity = validity_of(path, of_authorities=path != file)
            days, holds = validity.days_left(), validity.begins_s <= time.time()
            ends.append(f"{path} {_said(days) if holds else 'does not hold yet'}")
            if days < 0 or not holds:
                verdict = "FAIL"
            elif days < SOON_DAYS and verdict == "PASS":
                verdict = "WARN"
    except NextclickError as error:
        return failed(check, error)
    remedy = (
        "" if verdict == "PASS" else "put a new certificate and key into the same files: they are read again"
    )
    return CheckResult(check, verdict, "; ".join(ends), remedy)


def _said(days: float) -> str:
    return f"ended {-days:,.0f} days ago" if days < 0 else f"ends in {days:,.0f} days"
