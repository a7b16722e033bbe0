"""The schemas of a registry with Confluent's API, each asked for once; known ones need no registry.

A thread of its own asks, so that a registry that swallows requests holds up no reader: what is known goes on.

The extra `registry` brings what confluent-kafka's client and the formats need.

Tested by tests/integration/test_schema_registry.py.
"""

from __future__ import annotations

import importlib
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.errors import NextclickError
from stream.event_decoder import SchemaAwayError
from stream.events import RejectedEvent
from stream.logs import happening
from stream.settings import Settings

TIMEOUT_S = 2.0
# A reader waits so long for an answer, where the last one came as soon; else its record waits.
ANSWER_S = 0.25
# A schema that the registry does not have: another of its nodes may, until then.
UNKNOWN_AFTER_S = 5.0
# One that it did not have until then may be registered later.
ASK_AGAIN_S = 60.0
MOST_UNKNOWN = 1_000
NOT_FOUND = 404
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema as the registry has it; `references` are the schemas that it names, the deepest first."""

    schema_id: int
    kind: str
    text: str
    references: tuple[tuple[str, str], ...] = ()


@dataclass
class _Asked:
    """A schema that was asked for and is not known; `why` is "" until there was an answer."""

    answered: threading.Event
    asked_s: float
    first_refused_s: float | None = None
    why: str = ""


class SchemaRegistry:
    """Asks for schemas by id, in a thread of its own. Raises NextclickError without the client's packages.

    `latest` is the newest schema of `subject`, asked for with the first one: it names what was renamed.
    """

    def __init__(
        self,
        settings: Settings,
        subject: str = "",
        *,
        now_s: Callable[[], float] = time.monotonic,
        answer_s: float = ANSWER_S,
    ) -> None:
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
        self._subject = subject
        self._now_s = now_s
        self._answer_s = answer_s
        self._is_prompt = True
        self._known: dict[int, RegisteredSchema] = {}
        # Bounded: the ids of records may be anything.
        self._unknown: OrderedDict[int, _Asked] = OrderedDict()
        self._lock = threading.Lock()
        self._questions: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._is_subject_asked = not subject
        self.latest: RegisteredSchema | None = None
        threading.Thread(target=self._answer, name="schemas", daemon=True).start()

    def close(self) -> None:
        """Ask no more and close the connections; what is known stays known."""
        self._questions.put(None)

    def schema(self, schema_id: int) -> RegisteredSchema:
        """The schema of an id, waited for ANSWER_S at most, and not at all while the registry is slow.

        Raises SchemaAwayError while the registry does not answer, and RejectedEvent for an id that it has
        not had for UNKNOWN_AFTER_S.
        """
        asked = self._ask(schema_id)
        if self._is_prompt and asked is not None and not asked.answered.wait(self._answer_s):
            self._is_prompt = False
        found = self._known.get(schema_id)
        if found is not None:
            return found
        if asked is None or not asked.answered.is_set():
            raise SchemaAwayError(schema_id, "the registry does not answer: not yet")
        first_s = asked.first_refused_s
        if first_s is not None and self._now_s() - first_s >= UNKNOWN_AFTER_S:
            raise RejectedEvent("no_schema")
        raise SchemaAwayError(schema_id, asked.why)

    def _ask(self, schema_id: int) -> _Asked | None:
        """Have a schema asked for, unless it is known, under way, or was refused for long and lately."""
        with self._lock:
            if schema_id in self._known:
                return None
            now_s, asked = self._now_s(), self._unknown.get(schema_id)
            if asked is None:
                asked = self._unknown[schema_id] = _Asked(threading.Event(), now_s)
                while len(self._unknown) > MOST_UNKNOWN:
                    self._unknown.popitem(last=False)
            elif not asked.answered.is_set():
                return asked
            elif asked.first_refused_s is not None:
                is_over = now_s - asked.first_refused_s >= UNKNOWN_AFTER_S
                if is_over and now_s - asked.asked_s < ASK_AGAIN_S:
                    return asked
            asked.answered.clear()
            asked.asked_s = now_s
        self._questions.put(schema_id)
        return asked

    def _answer(self) -> None:
        """The thread that asks: a registry that does not answer holds up nothing else."""
        while (schema_id := self._questions.get()) is not None:
            began_s = time.monotonic()
            found, why, is_refused = self._fetch(schema_id)
            with self._lock:
                asked = self._unknown.get(schema_id)
                if found is not None:
                    self._known[schema_id] = found
                    self._unknown.pop(schema_id, None)
                elif asked is not None:
                    asked.why = why
                    if not is_refused:
                        asked.first_refused_s = None
                    elif asked.first_refused_s is None:
                        asked.first_refused_s = self._now_s()
            self._is_prompt = time.monotonic() - began_s < self._answer_s
            if asked is not None:
                asked.answered.set()
        self._client.close()

    def _fetch(self, schema_id: int) -> tuple[RegisteredSchema | None, str, bool]:
        """The schema, or why there is none, and whether the registry says that it has none."""
        try:
            found = self._registered(schema_id, self._client.get_schema(schema_id))
            self._fetch_latest()
        except self._refusal as refused:
            if refused.http_status_code == NOT_FOUND:
                return None, "the registry has no such schema", True
            return None, f"the registry answers {refused}", False
        except Exception as error:  # noqa: BLE001 - whatever its HTTP client raises: the registry is away
            return None, f"the registry does not answer: {error}", False
        return found, "", False

    def _fetch_latest(self) -> None:
        if self._is_subject_asked:
            return
        try:
            latest = self._client.get_latest_version(self._subject)
            self.latest = self._registered(latest.schema_id, latest.schema)
        except self._refusal as refused:
            if refused.http_status_code >= 500:
                raise
            # Without it (its subjects may have other names) aliases are known once their schema is seen.
            if refused.http_status_code != NOT_FOUND:
                logger.warning(
                    "the newest schema of %s is not shown: %s; fields that it renames are not found yet",
                    self._subject,
                    refused,
                    extra=happening("subject_refused", subject=self._subject, error=str(refused)),
                )
        self._is_subject_asked = True

    def _registered(self, schema_id: int, schema: Any) -> RegisteredSchema:
        references = tuple(self._references(schema, set()))
        return RegisteredSchema(schema_id, schema.schema_type or "AVRO", schema.schema_str, references)

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
            "Install what it needs, in nextclick's checkout: pip install '.[registry]'.",
        ) from None
