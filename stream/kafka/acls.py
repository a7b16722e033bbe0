"""The rights of each role in Kafka: read from acls.toml beside this file, granted, verified.

Least privilege: a role's user gets the rights in the file and no others. Knows no
secrets; the user that the settings name grants them.

Tested by tests/integration/test_security.py.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S, metadata, remedy_for
from stream.settings import Settings

FILE = Path(__file__).with_name("acls.toml")
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
# The names in Kafka's documentation and tools.
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


@dataclass(frozen=True, order=True)
class Right:
    """One operation that one user may do on a resource of Kafka; a `name` that ends in * is a prefix.

    >>> Right("User:worker", "topic", "events*", "Read").binding().name
    'events'
    """

    principal: str
    resource: str
    name: str
    operation: str

    def binding(self) -> AclBinding:
        """The right as Kafka's clients express it: allowed from every host."""
        return AclBinding(
            RESOURCES[self.resource],
            self.name.removesuffix("*"),
            ResourcePatternType.PREFIXED if self.name.endswith("*") else ResourcePatternType.LITERAL,
            self.principal,
            "*",
            OPERATIONS[self.operation],
            AclPermissionType.ALLOW,
        )


def rights(settings: Settings, file: Path = FILE) -> dict[str, list[Right]]:
    """By role, its rights on the topics and groups of the settings. Raises NextclickError."""
    names = {
        "events": settings.events_topic,
        "recommendations": settings.recommendations_topic,
        "models": settings.models_topic,
        "dlq": settings.dlq_topic,
        "items": settings.items_topic,
        "purchases": settings.purchases_topic,
        "placements": settings.placements_topic,
        "outcomes": settings.outcomes_topic,
        "group": settings.group_id,
    }
    try:
        roles: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        found = {
            role: sorted(
                Right(f"User:{role}", resource, name.format(**names, ingested=ingested), operation)
                for resource, by_name in granted.items()
                for name, operations in by_name.items()
                # A row of the topics that are mapped into events is one of each of them.
                for ingested in (settings.ingested() if "{ingested}" in name else [""])
                for operation in operations
            )
            for role, granted in roles.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NextclickError(
            f"the rights in {file} cannot be read: {error}",
            "Nothing was granted.",
            "Restore the file from the project, or correct it.",
        ) from None
    for right in (right for several in found.values() for right in several):
        if right.resource not in RESOURCES or right.operation not in OPERATIONS or right.name in ("", "*"):
            raise NextclickError(
                f"{file} has a right that is none: {right}",
                "Nothing was granted.",
                f"A right is {', '.join(OPERATIONS)} on a named {' or '.join(RESOURCES)}.",
            )
    return found


def grant(settings: Settings, wanted: list[Right]) -> None:
    """Grant all of `wanted`, beside the rights that are granted already.

    Raises NextclickError when the brokers refuse.
    """
    # Keep a reference until it has answered.
    admin = _admin(settings)
    answers = admin.create_acls([right.binding() for right in wanted], request_timeout=ANSWER_TIMEOUT_S)
    try:
        for answer in answers.values():
            answer.result(timeout=RESULT_TIMEOUT_S)
    except KafkaException as error:
        raise _refused("granted", error) from None


def granted(settings: Settings, principals: set[str]) -> set[Right]:
    """The rights that the brokers grant these users. Raises NextclickError."""
    everything = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = _admin(settings)
    try:
        answer = admin.describe_acls(everything, request_timeout=ANSWER_TIMEOUT_S)
        bindings = answer.result(timeout=RESULT_TIMEOUT_S)
    except KafkaException as error:
        raise _refused("read", error) from None
    if not bindings:
        # Brokers answer so, too, when this user may not see the rights.
        raise NextclickError(
            "the brokers show no rights of anybody",
            "Either none were granted yet, or this user may not see them.",
            "As a super user (NEXTCLICK_SASL_USERNAME=admin): `nextclick acls --apply`, then `--verify`.",
        )
    resources = {kind: name for name, kind in RESOURCES.items()}
    operations = {kind: name for name, kind in OPERATIONS.items()}
    return {
        Right(
            binding.principal,
            resources.get(binding.restype, binding.restype.name),
            binding.name + "*" * (binding.resource_pattern_type == ResourcePatternType.PREFIXED),
            operations.get(binding.operation, binding.operation.name),
        )
        for binding in bindings
        if binding.principal in principals and binding.permission_type == AclPermissionType.ALLOW
    }


def _admin(settings: Settings) -> AdminClient:
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    metadata(admin, settings)
    return admin


def _refused(done: str, error: KafkaException) -> NextclickError:
    problem = error.args[0]
    return NextclickError(
        f"no rights were {done}: {problem.str()}",
        "Either this user is no super user, or the brokers have no authorizer.",
        remedy_for(problem, "Set authorizer.class.name on the brokers (deploy/kafka.sh start --secure does).")
        if "SECURITY_DISABLED" in problem.name()
        else "Do it as a super user: NEXTCLICK_SASL_USERNAME=admin and its password file.",
    )
