"""TLS of the web server and between workers, with certificates that are read again when their files change.

Each new connection gets the context of what the files have then. A file that is damaged, or a certificate
whose key has not come yet, changes nothing: the former ones stay, and a line in the log says why.
Tested by tests/security/test_tls.py.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.errors import NextclickError
from stream.access.certificates import validity_of
from stream.access.watched_files import WatchedFiles
from stream.logs import happening
from stream.web_settings import WebSettings

logger = logging.getLogger(__name__)


class FollowedContext(ssl.SSLContext):
    """A context that hands each new connection to the newest one that `make` could make of the files.

    asyncio asks a context for nothing but `wrap_bio`. Raises NextclickError when the files cannot be used.
    """

    _make: Callable[[], ssl.SSLContext]
    _watched: WatchedFiles
    _current: ssl.SSLContext
    _own: Path | None
    _ends_s: float | None

    @classmethod
    def of(
        cls, make: Callable[[], ssl.SSLContext], files: list[Path], protocol: int, own: Path | None = None
    ) -> FollowedContext:
        """A context that follows these files, of which `own` is the certificate that it shows."""
        made = cls(protocol)
        made._make, made._watched, made._own = make, WatchedFiles(files), own
        made._watched.have_changed()
        made._take()
        return made

    def _take(self) -> None:
        self._current = self._make()
        try:
            self._ends_s = None if self._own is None else validity_of(self._own).ends_s
        except NextclickError as error:
            # OpenSSL has read it: connections go on, and when it ends is not known.
            self._ends_s = None
            logger.warning("%s", error.what, extra=happening("certificate_end_unknown", error=error.what))

    def ends_s(self) -> float | None:
        """When the certificate ends that new connections are shown, in epoch seconds; None: not known."""
        self.followed()
        return self._ends_s

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection, by what the files have now."""
        return self.followed().wrap_bio(*arguments, **options)

    def followed(self) -> ssl.SSLContext:
        """The context of new connections, by what the files have now."""
        if self._watched.have_changed():
            try:
                self._take()
            except NextclickError as error:
                logger.warning(
                    "the former certificates stay: %s",
                    error.what,
                    extra=happening("certificates_not_taken", error=error.what),
                )
            else:
                logger.info("took up new certificates", extra=happening("certificates_taken"))
        return self._current


def server_context(settings: WebSettings) -> FollowedContext | None:
    """The context of the web server; None where it answers in clear. Raises NextclickError."""
    certificate = settings.web_tls_certificate_file
    if certificate is None:
        return None

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load(context, settings)
        if settings.web_tls_clients:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    return FollowedContext.of(make, _files(settings), ssl.PROTOCOL_TLS_SERVER, certificate)


def followed_client_context(settings: WebSettings) -> ssl.SSLContext | None:
    """The context in which a worker asks others; None where they answer in clear. Raises NextclickError."""
    if settings.web_tls_certificate_file is None:
        return None
    return FollowedContext.of(lambda: client_context(settings), _files(settings), ssl.PROTOCOL_TLS_CLIENT)


def client_context(settings: WebSettings) -> ssl.SSLContext:
    """The context of those who ask a worker; they show its certificate as their own. Raises NextclickError.

    With web_tls_ca_file only certificates of this authority are believed, else those of the system's.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if settings.web_tls_ca_file is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, settings)
    return context


def _load(context: ssl.SSLContext, settings: WebSettings) -> None:
    certificate, key = settings.web_tls_certificate_file, settings.web_tls_key_file
    try:
        if certificate is not None:
            # Without a password: OpenSSL would ask the terminal for one.
            context.load_cert_chain(certificate, key, password=_no_password)
        if settings.web_tls_ca_file is not None:
            context.load_verify_locations(settings.web_tls_ca_file)
    except (ssl.SSLError, OSError, ValueError) as error:
        # OpenSSL's message contains nothing of the files.
        named = ", ".join(str(path) for path in _files(settings))
        raise NextclickError(
            f"the certificates of the web server cannot be used ({named}): {error}",
            "They are no PEM files that belong together, or cannot be read.",
            "Give web_tls_certificate_file, its web_tls_key_file without a password, and web_tls_ca_file.",
        ) from None


def _no_password() -> str:
    raise ValueError("the key has a password")


def _files(settings: WebSettings) -> list[Path]:
    files = (settings.web_tls_certificate_file, settings.web_tls_key_file, settings.web_tls_ca_file)
    return [path for path in files if path is not None]
