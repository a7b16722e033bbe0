"""Authentication of the client and of Kafka: TLS, and a password by SASL.

The settings, checked against each other, and their form for librdkafka and Python's TLS. A password
comes from the environment or a file; the file is read whenever a client is made, so that it may
change in between. No message and no text of this object contains it.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from model.errors import NextclickError

SECRETS = frozenset({"sasl_password", "schema_registry_password"})
SASL_FIELDS = ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_password_file")
TLS_FIELDS = ("ssl_ca_file", "ssl_certificate_file", "ssl_key_file", "ssl_key_password_file")


class KafkaSecurity(BaseModel):
    """The security settings. Raises ValueError with all contradictions.

    >>> KafkaSecurity(security_protocol="SSL").security_properties()["security.protocol"]
    'SSL'
    """

    bootstrap_servers: str = Field("127.0.0.1:9092", min_length=1, description="Kafka brokers, host:port")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="SSL: TLS; SASL: a password"
    )
    sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = "SCRAM-SHA-512"
    sasl_username: str | None = Field(None, min_length=1)
    sasl_password: SecretStr | None = Field(None, min_length=1, description="in the environment alone, or")
    sasl_password_file: Path | None = Field(None, description="the file that has it")
    ssl_ca_file: Path | None = Field(
        None, description="PEM certificates of the brokers' authority; default: the system's"
    )
    ssl_certificate_file: Path | None = Field(None, description="this client's PEM certificate, and")
    ssl_key_file: Path | None = Field(None, description="its private key")
    ssl_key_password_file: Path | None = Field(None, description="the file with that key's password")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        problems = [*self._sasl_problems(), *self._tls_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def has_sasl(self) -> bool:
        """Whether the client authenticates with a password."""
        return self.security_protocol.startswith("SASL_")

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")

    def _given(self, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if name in self.model_fields_set and getattr(self, name) is not None]

    def _sasl_problems(self) -> list[str]:
        given = self._given(SASL_FIELDS)
        if not self.has_sasl:
            return [
                f"{', '.join(given)}: of no use with security_protocol {self.security_protocol}; "
                "set it to SASL_SSL"
            ] * bool(given)
        problems = [] if self.sasl_username else [f"sasl_username: {self.security_protocol} needs one"]
        if self.sasl_password and self.sasl_password_file:
            problems.append("sasl_password, sasl_password_file: set one of them only")
        if not self.sasl_password and not self.sasl_password_file:
            problems.append(
                f"{self.security_protocol} needs a password: NEXTCLICK_SASL_PASSWORD or sasl_password_file"
            )
        if self.security_protocol == "SASL_PLAINTEXT" and self.sasl_mechanism == "PLAIN":
            problems += [
                f"sasl_mechanism: PLAIN sends the password unencrypted to {broker}; set SASL_SSL or SCRAM"
                for broker in self.bootstrap_servers.split(",")
                if not is_near(broker)
            ]
        return [*problems, *file_problems("sasl_password_file", self.sasl_password_file)]

    def _tls_problems(self) -> list[str]:
        given = self._given(TLS_FIELDS)
        if not self.has_tls:
            return [
                f"{', '.join(given)}: of no use with security_protocol {self.security_protocol}; "
                f"set it to {'SASL_SSL' if self.has_sasl else 'SSL'}"
            ] * bool(given)
        problems = []
        if bool(self.ssl_certificate_file) != bool(self.ssl_key_file):
            problems.append("ssl_certificate_file, ssl_key_file: set both or none")
        if self.ssl_key_password_file and not self.ssl_key_file:
            problems.append("ssl_key_password_file: there is no ssl_key_file")
        for name in TLS_FIELDS:
            problems += file_problems(name, getattr(self, name))
        if not problems:
            try:
                self.ssl_context()
            except (ssl.SSLError, OSError, ValueError) as error:
                # OpenSSL's message contains nothing of the files.
                problems.append(f"{', '.join(given)}: no PEM files that belong together: {error}")
        return problems

    def password(self) -> str | None:
        """The SASL password. Raises NextclickError when its file is gone."""
        if self.sasl_password is not None:
            return self.sasl_password.get_secret_value()
        return None if self.sasl_password_file is None else secret_in(self.sasl_password_file)

    def security_properties(self) -> dict[str, str]:
        """The librdkafka security properties; none for PLAINTEXT."""
        found: dict[str, str | None] = {}
        if self.has_sasl or self.has_tls:
            found["security.protocol"] = self.security_protocol
        if self.has_sasl:
            found["sasl.mechanism"] = self.sasl_mechanism
            found["sasl.username"], found["sasl.password"] = self.sasl_username, self.password()
        if self.has_tls:
            # The certificate must name the requested host.
            found["ssl.endpoint.identification.algorithm"] = "https"
            found["ssl.ca.location"] = _text(self.ssl_ca_file)
            found["ssl.certificate.location"] = _text(self.ssl_certificate_file)
            found["ssl.key.location"] = _text(self.ssl_key_file)
            found["ssl.key.password"] = self._key_password()
        return {name: value for name, value in found.items() if value is not None}

    def ssl_context(self) -> ssl.SSLContext | None:
        """The context of a TLS client, None without TLS; verifies the brokers' certificates and names."""
        if not self.has_tls:
            return None
        context = ssl.create_default_context(cafile=_text(self.ssl_ca_file))
        if self.ssl_certificate_file and self.ssl_key_file:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(
                self.ssl_certificate_file, self.ssl_key_file, self._key_password() or (lambda: "")
            )
        return context

    def _key_password(self) -> str | None:
        return None if self.ssl_key_password_file is None else secret_in(self.ssl_key_password_file)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def is_near(broker: str) -> bool:
    """Whether a broker's address is on this machine."""
    host = broker.strip().rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def file_problems(name: str, path: Path | None) -> list[str]:
    """What is wrong with a file that a setting names; nothing where it names none."""
    if path is None:
        return []
    try:
        content = path.read_bytes()
    except OSError as error:
        return [f"{name}: {path} cannot be read: {error.strerror}"]
    return [] if content.strip() else [f"{name}: {path} is empty"]


def secret_in(path: Path) -> str:
    """The first line of a file. Raises NextclickError."""
    try:
        return path.read_text().splitlines()[0]
    except (OSError, UnicodeError, IndexError):
        raise NextclickError(
            f"there is no password in {path}",
            "It was there when this process started; no new connection to Kafka can be made.",
            "Put the password back into the file, in its first line.",
        ) from None
