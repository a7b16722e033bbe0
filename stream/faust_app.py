"""The Faust app of a worker: its group, its credentials, and the channel of waves.

Tested by tests/unit/stream/test_app.py and tests/unit/stream/test_kafka_security.py.
"""

from __future__ import annotations

import uuid
from typing import Any

import faust
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from stream.settings import Settings


def make_faust_app(settings: Settings) -> faust.App:
    """An app without tables, whose web server is to be set."""
    return faust.App(
        # Its consumer group: every worker hears every announcement, and a restart need not
        # wait until the group has given up the process that was killed.
        f"{settings.group_id}-models-{settings.worker_id}-{uuid.uuid4().hex[:8]}",
        broker=[f"kafka://{address}" for address in settings.bootstrap_servers.split(",")],
        broker_credentials=broker_credentials(settings),
        store="memory://",
        datadir=str(settings.state_dir / "faust"),
        web_bind=settings.web_host,
        web_port=settings.web_port,
        web_host=settings.web_host,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        # Faust's own timeouts, so that it leaves its group soon after a crash.
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
    )


def broker_credentials(settings: Settings) -> Any:
    """The credentials of Faust's own clients; None without TLS and SASL."""
    context = settings.ssl_context()
    if settings.has_sasl:
        return faust.SASLCredentials(
            username=settings.sasl_username,
            password=settings.password(),
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


class WaveChannel(faust.Channel):
    """A channel that only its agent empties.

    Faust clears its queues when its group is rebalanced, because it reads their records again; waves
    would be lost.
    """

    @property
    def queue(self) -> ThrowableQueue:
        """The queue, with a flow control that Faust does not suspend."""
        if self._queue is None:
            flow = FlowControlEvent(initially_suspended=False)
            self._queue = ThrowableQueue(self.maxsize or 0, flow_control=flow)
        return self._queue
