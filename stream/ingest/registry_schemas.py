"""The schemas of a registry with Confluent's API, each asked for once; known ones need no registry.

`pip install nextclick[registry]` brings what confluent-kafka's client and the formats need.

Tested by tests/integration/test_schema_registry.py.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.errors import NextclickError
from stream.event_decoder import SchemaAwayError
from stream.events import RejectedEvent
from stream.settings import Settings

# The source's thread waits for no longer than this; a record that waits is asked for again.
TIMEOUT_S = 2.0
# A schema that the registry does not have: another of its nodes may, until then.
UNKNOWN_AFTER_S = 60.0
NOT_FOUND = 404


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema as the registry has it; `references` are the schemas that it names, the deepest first."""

    schema_id: int
    kind: str
    text: str
    references: tuple[tuple[str, str], ...] = ()


class SchemaRegistry:
    """Asks for schemas by id. Raises NextclickError where the client is not installed."""

    def __init__(self, settings: Settings, now_s: Callable[[], float] = time.monotonic) -> None:
        client = import_registry("confluent_kafka.schema_registry")
        config: dict[str, Any] = {
            "url": settings.schema_registry_url,
            "timeout": TIMEOUT_S,
            "max.retries": 0,
        }
        if settings.schema_registry_ca_file is not None:
            config["ssl.ca.location"] = str(settings.schema_registry_ca_file)
        if settings.schema_registry_username:
            password = settings.registry_password() or ""
            config["basic.auth.user.info"] = f"{settings.schema_registry_username}:{password}"
        self._client = client.SchemaRegistryClient(config)
        self._refusal = client.error.SchemaRegistryError
        self._now_s = now_s
        self._first_refused_s: dict[int, float] = {}

    def close(self) -> None:
        """Close the connections; what is known stays known."""
        self._client.close()

    def schema(self, schema_id: int) -> RegisteredSchema:
        """The schema of an id.

        Raises SchemaAwayError while the registry does not answer, and RejectedEvent for an id that it has
        not had for UNKNOWN_AFTER_S.
        """
        try:
            found = self._client.get_schema(schema_id)
            references = tuple(self._references(found, set()))
        except self._refusal as refused:
            if refused.http_status_code == NOT_FOUND:
                first_s = self._first_refused_s.setdefault(schema_id, self._now_s())
                if self._now_s() - first_s >= UNKNOWN_AFTER_S:
                    raise RejectedEvent("no_schema") from None
                raise SchemaAwayError(schema_id, "the registry has no such schema") from None
            raise SchemaAwayError(schema_id, f"the registry answers {refused}") from None
        except Exception as error:  # noqa: BLE001 - whatever its HTTP client raises: the registry is away
            raise SchemaAwayError(schema_id, f"the registry does not answer: {error}") from None
        self._first_refused_s.pop(schema_id, None)
        return RegisteredSchema(schema_id, found.schema_type or "AVRO", found.schema_str, references)

    def _references(self, schema: Any, seen: set[str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for reference in schema.references or ():
            if reference.name not in seen:
                seen.add(reference.name)
                version = self._client.get_version(reference.subject, reference.version).schema
                found += [*self._references(version, seen), (reference.name, version.schema_str)]
        return found


def import_registry(name: str) -> Any:
    """A module of the packages for registries. Raises NextclickError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NextclickError(
            f"a schema registry is named, and {error.name or name} is not installed",
            "Without it no record of the registry can be read; nothing was started.",
            "Install what it needs: pip install 'nextclick[registry]'.",
        ) from None
