"""The members of the group that shares `events`: who they are, where they answer, and leaving it in peace.

A static member stays in its group when its client closes: the group waits a session timeout for it to come
back, and its partitions stand still. librdkafka has no request to leave for one, so it is sent by another
client, with the member's own id: a worker whose place another one of its name has taken removes nobody.

Tested by tests/integration/test_group_members.py and tests/faults/test_rebalance.py.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaError as ClientError
from aiokafka.errors import UnknownMemberIdError, for_code
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.kafka.retries import retry_while_away
from stream.logs import happening
from stream.settings import Settings
from stream.web_address import address_in

LEAVE_TIMEOUT_S = 5.0
NO_SUCH_REQUEST = KafkaError._UNSUPPORTED_FEATURE  # noqa: SLF001
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroupMember:
    """A worker that is in the group, with the partitions it has; no address where its client id has none."""

    worker_id: str
    address: str
    partitions: tuple[int, ...]


def group_members(
    admin: AdminClient, settings: Settings, timeout_s: float = ANSWER_TIMEOUT_S
) -> list[GroupMember]:
    """The workers' group by name, empty where there is none. Raises KafkaException."""
    asked = admin.describe_consumer_groups([settings.group_id], request_timeout=timeout_s)
    found = []
    for member in asked[settings.group_id].result(timeout=2 * timeout_s).members:
        name, address = address_in(member.client_id or "") or (member.client_id or "", "")
        places = member.assignment.topic_partitions
        numbers = sorted(place.partition for place in places if place.topic == settings.events_topic)
        found.append(GroupMember(member.group_instance_id or name, address, tuple(numbers)))
    return sorted(found, key=lambda member: member.worker_id)


def check_group(settings: Settings) -> None:
    """Raise NextclickError where this user has no right on `group_id`.

    A member hears of it only while it joins, when a part of the worker runs already.
    """
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})

    def ask() -> None:
        try:
            group_members(admin, settings)
        except KafkaException as error:
            # An embedded broker, which refuses nobody.
            if error.args[0].code() != NO_SUCH_REQUEST:
                raise

    retry_while_away(ask, f"asking for the members of the group {settings.group_id}")


def leave_to_others(settings: Settings, member_id: str) -> bool:
    """Take a member that has closed its client out of the group, if others are in it to take over.

    Alone it stays: it has its partitions back at once when it returns. Returns whether it has left. Without
    an answer it has not, which is logged: others take over after session_timeout_ms.
    """
    try:
        admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        members = group_members(admin, settings, LEAVE_TIMEOUT_S)
        if all(member.worker_id == settings.worker_id for member in members):
            return False
        asyncio.run(_leave(settings, member_id))
    except UnknownMemberIdError:
        # It was gone already: the group had given its partitions away.
        return False
    except (KafkaException, ClientError, NextclickError, OSError, TimeoutError) as error:
        if isinstance(error, KafkaException) and error.args[0].code() == NO_SUCH_REQUEST:
            # An embedded broker, which has one worker.
            return False
        logger.warning(
            "the group was not told that this worker leaves: %s; others take its partitions over after %d ms",
            error,
            settings.session_timeout_ms,
            extra=happening("not_left", error=str(error)),
        )
        return False
    logger.info("left the group: others take its partitions over now", extra=happening("left"))
    return True


async def _leave(settings: Settings, member_id: str) -> None:
    """Send the request to the group's coordinator. Raises what aiokafka raises, and TimeoutError."""
    client = AIOKafkaClient(
        bootstrap_servers=settings.bootstrap_servers,
        client_id=settings.worker_id,
        request_timeout_ms=int(1000 * LEAVE_TIMEOUT_S),
        security_protocol=settings.security_protocol,
        ssl_context=settings.ssl_context(),
        sasl_mechanism=settings.sasl_mechanism,
        sasl_plain_username=settings.sasl_username,
        sasl_plain_password=settings.password(),
    )
    async with asyncio.timeout(LEAVE_TIMEOUT_S):
        await client.bootstrap()
        try:
            coordinator = await client.coordinator_lookup(CoordinationType.GROUP, settings.group_id)
            request = LeaveGroupRequest(settings.group_id, member_id)
            answer = await client.send(coordinator, request, group=ConnectionGroup.COORDINATION)
        finally:
            await client.close()
    refusal = for_code(answer.error_code)
    if answer.error_code:
        raise refusal()
