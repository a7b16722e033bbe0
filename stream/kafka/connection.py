"""The first request to Kafka: waits while brokers are away, fails fast when they refuse the client.

librdkafka retries forever whatever is wrong, and reports "transport failure". This module finds the
reason itself: a rejected certificate, TLS on one side only, a wrong password.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

from model.errors import NextclickError
from stream.settings import Settings

ANSWER_TIMEOUT_S = 15.0
# For an admin client's future: the request itself times out sooner, with an error of Kafka.
RESULT_TIMEOUT_S = 2 * ANSWER_TIMEOUT_S
# Without an answer in this time the reason is looked for; a healthy broker answers sooner.
FIRST_TIMEOUT_S = 1.0
CHECK_TIMEOUT_S = 3.0
NOT_ALLOWED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
# OpenSSL's verify codes (x509_vfy.h).
EXPIRED = frozenset({9, 10})
OTHER_NAME = frozenset({62, 63, 64})


class Client(Protocol):
    """A producer, a consumer or an admin client."""

    def list_topics(self, topic: str | None = None, *, timeout: float = -1) -> ClusterMetadata:
        """The metadata of a topic, or of all topics."""


class RefusedConnection(NextclickError):
    """A broker is reachable and refuses this client, or the client refuses the broker."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, "Nothing was read and nothing was written.", remedy)


def metadata(client: Client, settings: Settings, topic: str | None = None) -> ClusterMetadata:
    """The brokers' metadata of `topic`, None for all topics.

    Raises RefusedConnection when a retry cannot help, NextclickError when no broker answers
    in ANSWER_TIMEOUT_S.
    """
    began_s = time.monotonic()
    try:
        return _ask(client, topic, FIRST_TIMEOUT_S)
    except KafkaException:
        raise_refusal(settings)
    try:
        return _ask(client, topic, max(FIRST_TIMEOUT_S, ANSWER_TIMEOUT_S - (time.monotonic() - began_s)))
    except KafkaException as error:
        raise NextclickError(
            f"no Kafka broker answered at {settings.bootstrap_servers} in {ANSWER_TIMEOUT_S:.0f} s: "
            f"{error.args[0].str()}",
            "Nothing was read and nothing was written.",
            "Start Kafka (`deploy/kafka.sh start`) or name its address: "
            "--bootstrap-servers or NEXTCLICK_BOOTSTRAP_SERVERS. If it runs, see whether "
            f"NEXTCLICK_SECURITY_PROTOCOL={settings.security_protocol} is its listener's.",
        ) from None


def _ask(client: Client, topic: str | None, timeout_s: float) -> ClusterMetadata:
    if topic is None:
        return client.list_topics(timeout=timeout_s)
    return client.list_topics(topic, timeout=timeout_s)


def raise_refusal(settings: Settings) -> None:
    """Raise RefusedConnection with the reason why no broker answers; return when none is found."""
    for broker in settings.bootstrap_servers.split(","):
        host, _, port = broker.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), CHECK_TIMEOUT_S) as connection:
                _check_tls(settings, broker, host.strip("[]"), connection)
        except (OSError, ValueError):
            # Nothing listens there, or the connection ended too soon to tell.
            continue
        if settings.has_sasl:
            _check_password(settings, broker)
        return


def _check_tls(settings: Settings, broker: str, host: str, connection: socket.socket) -> None:
    context = settings.ssl_context()
    if context is None:
        anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anything.check_hostname = False
        anything.verify_mode = ssl.CERT_NONE
        try:
            anything.wrap_socket(connection, server_hostname=host).close()
        except OSError:
            # Not TLS either, so that is not the reason.
            return
        raise RefusedConnection(
            f"{broker} speaks TLS, and security_protocol is {settings.security_protocol}",
            "Set NEXTCLICK_SECURITY_PROTOCOL to SASL_SSL (with a user) or SSL.",
        )
    try:
        context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        raise RefusedConnection(
            f"the certificate of {broker} is not accepted: {error.verify_message}",
            _certificate_remedy(error.verify_code),
        ) from None
    except (ssl.SSLError, ConnectionResetError) as error:
        raise RefusedConnection(
            f"{broker} made no TLS connection: {getattr(error, 'reason', None) or error}",
            "Name the port of its TLS listener, or set NEXTCLICK_SECURITY_PROTOCOL to what it speaks.",
        ) from None


def _certificate_remedy(code: int) -> str:
    if code in EXPIRED:
        return "Renew the broker's certificate; if it is not expired, set this machine's clock."
    if code in OTHER_NAME:
        return "Name the broker by a name that is in its certificate, or have this name put into it."
    return "Name the certificate of the brokers' authority: NEXTCLICK_SSL_CA_FILE."


def _check_password(settings: Settings, broker: str) -> None:
    refused: list[KafkaError] = []

    def on_error(error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:  # noqa: SLF001
            refused.append(error)

    config = {**settings.kafka_config(), "bootstrap.servers": broker, "log_level": 0, "error_cb": on_error}
    admin = AdminClient(config)
    deadline = time.monotonic() + CHECK_TIMEOUT_S
    while not refused and time.monotonic() < deadline:
        admin.poll(0.1)
    if refused:
        raise RefusedConnection(
            f"{broker} does not let user {settings.sasl_username!r} in by {settings.sasl_mechanism}: "
            f"{refused[0].str()}",
            "Set NEXTCLICK_SASL_USERNAME and its password (NEXTCLICK_SASL_PASSWORD_FILE), and the "
            "NEXTCLICK_SASL_MECHANISM that the user was made for.",
        )


def remedy_for(error: KafkaError, otherwise: str) -> str:
    """The remedy for an error of Kafka: to grant a missing right, or else `otherwise`.

    >>> remedy_for(KafkaError(KafkaError.NOT_COORDINATOR), "Look at the brokers.")
    'Look at the brokers.'
    """
    if error.code() in NOT_ALLOWED:
        return "Grant this user the rights of its role: stream/kafka/acls.toml, `nextclick acls --apply`."
    return otherwise
