import pytest
from confluent_kafka import KafkaError, KafkaException

from model.errors import NextclickError
from stream.kafka.retries import retry_while_away


def test_kafka_is_asked_again_while_it_is_away_and_not_when_it_refuses() -> None:
    answers = [
        KafkaException(KafkaError(KafkaError._TRANSPORT)),
        KafkaException(KafkaError(KafkaError._TIMED_OUT)),
        KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION)),
    ]
    waits: list[float] = []

    def ask() -> int:
        if answers:
            raise answers.pop()
        return 7

    assert retry_while_away(ask, "asking", sleep=waits.append) == 7
    assert len(waits) == 3
    answers.append(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    with pytest.raises(NextclickError, match="asking failed"):
        retry_while_away(ask, "asking", sleep=waits.append)
    assert len(waits) == 3


def test_patience_ends_and_says_what_that_means(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += 50

    def ask() -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr("stream.kafka.retries.time.monotonic", lambda: now_s[0])
    with pytest.raises(NextclickError, match="asking failed") as caught:
        retry_while_away(ask, "asking", meaning="It is not known.", remedy="Look.", sleep=sleep)
    assert now_s[0] == 150
    assert (caught.value.meaning, caught.value.remedy) == ("It is not known.", "Look.")
