"""The settings of topics of one's own: what their records look like, and the registry of their schemas.

Tested by tests/unit/stream/test_settings.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, model_validator

from stream.kafka_security import file_problems, is_near, secret_in

# What Kafka takes for the name of a topic.
TOPIC = r"[A-Za-z0-9._-]{1,249}"

# Settings of topics that hold no events of a shop.
KEPT_TOPICS = (
    "purchases_topic", "placements_topic", "items_topic", "outcomes_topic", "recommendations_topic",
    "models_topic", "dlq_topic",
)  # fmt: skip


class OwnTopic(BaseModel):
    """The settings of an events topic that others write in their own way. Raises ValueError.

    >>> OwnTopic(events_mapping="clicks.toml").events_mapping
    'clicks.toml'
    """

    events_mapping: str = Field(
        "", description="what is what in a topic of one's own: a TOML file, or a name such as cloudevents"
    )
    ingest_from: str = Field(
        "", description="what `nextclick ingest` maps into events: TOPIC=MAPPING, several with commas"
    )
    schema_registry_url: str = Field(
        "", description="registry with Confluent's API, of records in Avro, Protobuf or JSON Schema"
    )
    schema_registry_username: str = ""
    schema_registry_password: SecretStr | None = Field(
        None, min_length=1, description="in the environment alone, or"
    )
    schema_registry_password_file: Path | None = Field(None, description="the file that has it")
    schema_registry_ca_file: Path | None = Field(
        None, description="PEM certificates of the registry's authority"
    )

    @model_validator(mode="after")
    def _is_of_one_mind(self) -> Self:
        problems = [*self._topic_problems(), *self._registry_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _topic_problems(self) -> list[str]:
        problems = []
        if self.events_mapping and getattr(self, "web_events", False):
            problems.append(
                "events_mapping, web_events: HTTP sends our own JSON into a topic of other records; "
                "set one of them only"
            )
        if self.events_mapping and self.ingest_from:
            problems.append(
                "events_mapping, ingest_from: ingest writes our own JSON into a topic of other records; "
                "set one of them only"
            )
        pairs = [one.partition("=") for one in self.ingest_from.split(",")] if self.ingest_from else []
        topics = [topic for topic, _, _ in pairs]
        if not all(re.fullmatch(TOPIC, topic) and mapping for topic, _, mapping in pairs):
            problems.append("ingest_from: not TOPIC=MAPPING, as in shop.views=views.toml,shop.orders=segment")
        elif len(set(topics)) < len(topics) or getattr(self, "events_topic", None) in topics:
            problems.append("ingest_from: each topic once, and not events_topic, which is written")
        problems += [
            f"ingest_from, {name}: {getattr(self, name)} is a topic of Nextclick's own, not of a shop's "
            "events; name another one in either"
            for name in KEPT_TOPICS
            if getattr(self, name, None) in topics
        ]
        return problems

    def ingested(self) -> dict[str, str]:
        """The topics that are mapped into events, each with the name or the file of its mapping.

        >>> OwnTopic(ingest_from="shop.views=views.toml,shop.orders=segment").ingested()
        {'shop.views': 'views.toml', 'shop.orders': 'segment'}
        """
        return (
            dict(one.partition("=")[::2] for one in self.ingest_from.split(",")) if self.ingest_from else {}
        )

    def _registry_problems(self) -> list[str]:
        address = urlsplit(self.schema_registry_url)
        problems = []
        if self.schema_registry_url and (address.scheme not in ("http", "https") or not address.hostname):
            problems.append("schema_registry_url: not an address, such as https://registry:8081")
        if self.schema_registry_url and not self.events_mapping and not self.ingest_from:
            problems.append(
                "schema_registry_url: of no use without events_mapping or ingest_from, which say what is what"
            )
        if self.schema_registry_password and self.schema_registry_password_file:
            problems.append("schema_registry_password, schema_registry_password_file: set one of them only")
        has_password = bool(self.schema_registry_password or self.schema_registry_password_file)
        if bool(self.schema_registry_username) != has_password:
            problems.append("schema_registry_username and its password: set both or none")
        if has_password and address.scheme == "http" and not is_near(f"{address.hostname}:0"):
            problems.append("schema_registry_url: http sends the password unencrypted; use https")
        problems += file_problems("schema_registry_password_file", self.schema_registry_password_file)
        return [*problems, *file_problems("schema_registry_ca_file", self.schema_registry_ca_file)]

    def registry_password(self) -> str | None:
        """The registry's password. Raises NextclickError when its file is gone."""
        if self.schema_registry_password is not None:
            return self.schema_registry_password.get_secret_value()
        path = self.schema_registry_password_file
        return None if path is None else secret_in(path)
