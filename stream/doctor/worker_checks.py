"""Checks of a running worker, by what it answers over HTTP. They change nothing.

Tested by tests/integration/test_doctor.py, tests/cases/test_gaps.py and test_producers_duty.py.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from stream.doctor.check_result import CheckResult

ANSWER_TIMEOUT_S = 5


def worker_checks(address: str) -> Iterator[CheckResult]:
    """Whether a worker at this address is ready, and what its events have missed since it started."""
    try:
        _ask(address, "ready")
        yield CheckResult("worker", "PASS", f"{address} is ready")
        status = _ask(address, "api/status")
        yield _lost(status["accounting"])
        if status["begun_anew"]:
            yield _begun_anew(status["begun_anew"])
        yield _producers(status["producer_faults"])
    except urllib.error.HTTPError as error:
        with error:
            found = f"{address} is not ready: HTTP {error.code}"
        yield CheckResult("worker", "WARN", found, "see its log")
    except (OSError, ValueError, KeyError) as error:
        yield CheckResult(
            "worker", "SKIP", f"none answers at {address}: {error}", "name others with --worker"
        )


def _ask(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address.rstrip('/')}/{path}", timeout=ANSWER_TIMEOUT_S) as answer:
        return json.load(answer)


def _lost(accounting: dict[str, Any]) -> CheckResult:
    """Events that left the log before the worker had read them."""
    lost = {number: row["lost"] for number, row in accounting["partitions"].items() if row["lost"]}
    if not lost:
        return CheckResult("lost events", "PASS", "none since the worker started")
    remedy = "kafka-configs.sh retention.ms=-1 for events; what is gone is gone, unless a producer has it"
    places = ", ".join(f"partition {number}: {events:,}" for number, events in lost.items())
    found = f"{accounting['lost']:,} left the log before they were read ({places})"
    return CheckResult("lost events", "FAIL", found, remedy)


def _begun_anew(partitions: list[int]) -> CheckResult:
    """Partitions whose state and offsets were those of a topic before this one."""
    remedy = "was the topic deleted, or is this another cluster? See the runbook; a restart ends this row"
    return CheckResult(
        "topic id", "WARN", f"the topic was made anew: partitions {partitions} begun anew", remedy
    )


def _producers(faults: dict[str, int]) -> CheckResult:
    """What the producers have sent otherwise than they should."""
    found = ", ".join(f"{fault} {events:,}" for fault, events in faults.items() if events)
    if not found:
        return CheckResult("producers", "PASS", "no fault since the worker started")
    splits = faults["misplaced"] or faults["no_key"]
    remedy = "partitioner=murmur2_random, key = session id, time in milliseconds; see the runbook"
    return CheckResult("producers", "FAIL" if splits else "WARN", f"events by fault: {found}", remedy)
