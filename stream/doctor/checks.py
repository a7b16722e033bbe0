"""All checks of `nextclick doctor`, in the order in which they are shown.

Tested by tests/integration/test_doctor.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stream.doctor.broker_checks import BrokerChecks
from stream.doctor.check_result import CheckResult
from stream.doctor.machine_checks import local_checks
from stream.doctor.worker_checks import worker_checks
from stream.settings import Settings


def all_checks(settings: Settings, worker_addresses: Sequence[str]) -> Iterator[CheckResult]:
    """Check the brokers, then this machine, then each worker; every result comes as soon as it is known."""
    brokers = BrokerChecks(settings)
    yield from brokers.run()
    yield from local_checks(settings, brokers.newest_event_ms, brokers.topic_id)
    for address in worker_addresses:
        yield from worker_checks(address, settings)
