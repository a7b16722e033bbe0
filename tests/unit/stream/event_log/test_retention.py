"""Until when a topic keeps what it has: by its own configuration, and said where that is not known."""

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream.event_log.retention import REMOVAL_MS, Retention, retention_of, retentions

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000  # 2023-11-14T22:13:20Z


class Entry:
    def __init__(self, value: str) -> None:
        self.value = value


class Admin:
    """Answers by topic: its configuration, or the error of asking for it."""

    def __init__(self, answers: dict[str, dict[str, str] | int]) -> None:
        self._answers = answers

    def describe_configs(self, resources: list[Any], request_timeout: float) -> dict[Any, Future[Any]]:
        found: dict[Any, Future[Any]] = {}
        for resource in resources:
            answer, future = self._answers[resource.name], Future[Any]()
            if isinstance(answer, int):
                future.set_exception(KafkaException(KafkaError(answer)))
            else:
                future.set_result({name: Entry(value) for name, value in answer.items()})
            found[resource] = future
        return found


def config(
    policy: str = "delete", retention_ms: int = 90 * DAY_MS, segment_ms: int = 7 * DAY_MS
) -> dict[str, str]:
    return {"cleanup.policy": policy, "retention.ms": str(retention_ms), "segment.ms": str(segment_ms)}


def test_a_record_goes_with_its_segment_whose_newest_record_counts() -> None:
    kept = retention_of(config())
    assert kept.until_ms(NOW_MS) == NOW_MS + 97 * DAY_MS + REMOVAL_MS
    assert kept.until(NOW_MS) == "2024-02-19T23:13Z"
    assert kept.text(NOW_MS) == "until 2024-02-19T23:13Z at the latest"


def test_a_topic_that_is_compacted_and_aged_removes_by_age() -> None:
    assert retention_of(config("compact, delete")).until_ms(NOW_MS) is not None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (config("compact"), "its cleanup.policy is compact"),
        (config(retention_ms=-1), "its retention.ms is -1"),
        (config(retention_ms=2**63 - 1), "by its retention.ms"),
    ],
)
def test_what_nothing_removes_is_said_to_stay_forever(changed: dict[str, str], why: str) -> None:
    kept = retention_of(changed)
    assert kept.until(NOW_MS) is None
    assert kept.text(NOW_MS).startswith("forever")
    assert why in kept.text(NOW_MS)


def test_no_time_is_made_up_where_the_brokers_do_not_tell() -> None:
    for kept in (retention_of({}), retention_of(config() | {"retention.ms": "None"})):
        assert kept.until(NOW_MS) is None
        assert "is not known: the brokers did not tell" in kept.text(NOW_MS)


def test_topics_that_are_not_there_are_left_out_and_refusals_are_told() -> None:
    admin: Any = Admin(
        {
            "outcomes": config(),
            "gone": KafkaError.UNKNOWN_TOPIC_OR_PART,
            "secret": KafkaError.TOPIC_AUTHORIZATION_FAILED,
        }
    )
    found = retentions(admin, ["outcomes", "gone", "secret"])
    assert found.keys() == {"outcomes", "secret"}
    assert found["outcomes"] == Retention("delete", 90 * DAY_MS, 7 * DAY_MS)
    assert found["secret"].until(NOW_MS) is None
    assert "is not known: " in found["secret"].text(NOW_MS)
