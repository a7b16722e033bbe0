"""Checks of a running worker, by what it answers over HTTP. They change nothing.

Tested by tests/integration/test_doctor.py, tests/cases/test_gaps.py and test_producers_duty.py.
"""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

from model.errors import NextclickError
from stream.access.grants import OPERATE
from stream.access.own_requests import open_worker
from stream.doctor.check_result import CheckResult
from stream.session_gaps import gap_text, is_other_gap
from stream.web_settings import WebSettings

ANSWER_TIMEOUT_S = 5
TOKEN = ("asks for a token", "give doctor the worker's web_keys_file")
# HTTP status → what it says, and what to do.
REFUSED = {
    401: TOKEN,
    403: TOKEN,
    421: (
        "does not answer to this name",
        "ask by another (--worker), or add it to its web_allowed_hosts",
    ),
}


def worker_checks(address: str, settings: WebSettings | None = None) -> Iterator[CheckResult]:
    """Whether a worker at this address is ready, and what its events have missed since it started."""
    asks = settings or WebSettings()
    try:
        _ask(address, "ready", asks)
        yield CheckResult("worker", "PASS", f"{address} is ready")
        status = _ask(address, "api/status", asks)
        yield _lost(status["accounting"])
        if status["begun_anew"]:
            yield _begun_anew(status["begun_anew"])
        yield _producers(status["producer_faults"])
        if is_other_gap(status.get("mapping_session_gap_s"), status.get("session_gap_s")):
            yield _other_gap(status)
    except urllib.error.HTTPError as error:
        with error:
            said, remedy = REFUSED.get(error.code, ("is not ready", "see its log"))
            found = f"{address} {said}: HTTP {error.code}"
        yield CheckResult("worker", "WARN", found, remedy)
    except NextclickError as error:
        yield CheckResult("worker", "FAIL", error.what, error.remedy)
    except (OSError, ValueError, KeyError, HTTPException) as error:
        yield CheckResult(
            "worker", "SKIP", f"none answers at {address}: {error}", "name others with --worker"
        )


def _ask(address: str, path: str, settings: WebSettings) -> Any:
    with open_worker(settings, f"{address.rstrip('/')}/{path}", OPERATE, ANSWER_TIMEOUT_S) as answer:
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


def _other_gap(status: dict[str, Any]) -> CheckResult:
    """The version ends the sessions of users otherwise than the log's mapping says."""
    found = (
        f"{status['model']} ends sessions {gap_text(status['session_gap_s'])}, the mapping of the log "
        f"{gap_text(status['mapping_session_gap_s'])}"
    )
    return CheckResult(
        "session gap", "WARN", found, "nextclick retrain, or correct gap_minutes in the mapping"
    )
