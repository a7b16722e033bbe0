"""Which workers serve a version: asked of each member of the group by HTTP until all do, or time is over.

What is known of a worker is its place in the group, by whose description it is found, and its own answer
(`/api/status`). A worker that is not in the group yet reads the champion when it starts.

Tested by tests/unit/stream/doctor/test_taken_up.py and tests/integration/test_promote.py.
"""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.access.grants import OPERATE
from stream.access.own_requests import open_worker
from stream.kafka.group_members import GroupMember, group_members
from stream.kafka.retries import is_transient
from stream.settings import Settings

ASK_EVERY_S = 0.5
ANSWER_TIMEOUT_S = 5.0
ASKED_AT_ONCE = 16
Ask = Callable[[GroupMember], Mapping[str, Any]]


@dataclass(frozen=True)
class WorkerVersion:
    """What a worker serves, None where that is not known; `problem` says why, or why not the version."""

    worker: str
    address: str
    serves: str | None
    problem: str = ""


def wait_until_served(
    settings: Settings,
    version: str,
    timeout_s: float,
    *,
    members: Callable[[], list[GroupMember]] | None = None,
    ask: Ask | None = None,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[WorkerVersion]:
    """What each worker of the group serves: as soon as all serve `version`, or after `timeout_s`.

    Raises NextclickError when the group cannot be asked for.
    """
    found_members = members or _members_of(settings)
    asked = ask or (lambda member: _status(member, settings))
    deadline_s = now_s() + timeout_s
    with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="ask") as threads:
        while True:
            try:
                present = found_members()
            except (KafkaException, TimeoutError) as error:
                passes = isinstance(error, TimeoutError) or is_transient(error.args[0])
                if not passes or now_s() >= deadline_s:
                    raise _not_asked(settings, error) from None
                sleep(ASK_EVERY_S)
                continue
            found = list(threads.map(lambda member: _version_of(member, asked), present))
            if all(one.serves == version for one in found) or now_s() >= deadline_s:
                return found
            sleep(ASK_EVERY_S)


def _members_of(settings: Settings) -> Callable[[], list[GroupMember]]:
    # librdkafka's own log would repeat every failed connection.
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    return lambda: group_members(admin, settings, ANSWER_TIMEOUT_S)


def _not_asked(settings: Settings, error: KafkaException | TimeoutError) -> NextclickError:
    why = error.args[0].str() if isinstance(error, KafkaException) else "no answer"
    return NextclickError(
        f"the group {settings.group_id} could not be asked for its workers: {why}",
        "The version is announced; which workers serve it is not known.",
        "Look at the brokers and at this client's rights (Describe on the group), or leave the "
        "waiting out with --no-wait; `/api/status` of each worker says what it serves.",
    )


def _version_of(member: GroupMember, ask: Ask) -> WorkerVersion:
    if not member.address:
        return WorkerVersion(member.worker_id, "", None, "its client id has no address")
    try:
        status = ask(member)
        # Workers of before this name do not say theirs.
        name, serves = str(status.get("worker_id", member.worker_id)), status["model"]
        refused = [str(one["error"]) for one in status["refused_versions"]]
    except urllib.error.HTTPError as error:
        with error:
            problem = f"answers HTTP {error.code}"
        return WorkerVersion(member.worker_id, member.address, None, problem)
    except NextclickError as error:
        return WorkerVersion(member.worker_id, member.address, None, error.what)
    except (OSError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        return WorkerVersion(member.worker_id, member.address, None, f"does not answer: {why}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return WorkerVersion(member.worker_id, member.address, None, "answers with no status of a worker")
    if name != member.worker_id:
        return WorkerVersion(member.worker_id, member.address, None, f"there answers {name} instead")
    newest = f"its newest refusal: {refused[-1]}" if refused else ""
    return WorkerVersion(member.worker_id, member.address, None if serves is None else str(serves), newest)


def _status(member: GroupMember, settings: Settings) -> Mapping[str, Any]:
    # A worker that answers to certain names only answers to these.
    host = settings.web_first_name
    url = f"{settings.web_scheme}://{member.address}/api/status"
    with open_worker(settings, url, OPERATE, ANSWER_TIMEOUT_S, host=host) as answer:
        status: Mapping[str, Any] = json.load(answer)
        return status
