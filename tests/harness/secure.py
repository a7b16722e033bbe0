"""A real broker that asks for TLS and passwords and knows rights, and clients of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.settings import Settings


@dataclass(frozen=True)
class SecureKafka:
    """The broker that `deploy/kafka.sh start --secure` has started in `folder`."""

    address: str
    folder: Path

    @property
    def ca_file(self) -> Path:
        return self.folder / "secrets" / "ca.pem"

    def password_file(self, user: str) -> Path:
        return self.folder / "secrets" / f"{user}.password"

    def user(self, name: str) -> dict[str, Any]:
        """The settings of one of its users."""
        return {
            "bootstrap_servers": self.address,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": name,
            "sasl_password_file": self.password_file(name),
            "ssl_ca_file": self.ca_file,
        }


def as_user(settings: Settings, broker: SecureKafka, name: str, **changes: Any) -> Settings:
    """The same topics, groups and folders for another user."""
    given = {field: getattr(settings, field) for field in settings.model_fields_set}
    return Settings(**{**given, **broker.user(name), **changes})
