import pytest

from model.errors import NextclickError
from stream.events import Recommendation
from stream.kafka.lists_reader import Received
from stream.settings import Settings
from stream.web import list_waiter
from stream.web.list_waiter import ListWaiter


def received(event_id: str) -> Received:
    return Received(Recommendation("s", event_id, 1, "v", [], []), 0, 0, {})


def test_without_a_broker_it_says_so_and_begins_anew_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_waiter, "ANSWER_TIMEOUT_S", 0.2)
    waiter = ListWaiter(Settings(bootstrap_servers="127.0.0.1:9"))
    for _ in range(2):
        with pytest.raises(NextclickError, match="no Kafka broker answered"):
            waiter.open("s")


def test_a_list_is_found_whether_it_comes_before_it_is_waited_for_or_after() -> None:
    waiter = ListWaiter(Settings())
    waiter.follow("s")
    waiter.deliver(b"s", received("0-1"))
    assert waiter.wait_for("s", "0-1").result(0) == received("0-1")
    later = waiter.wait_for("s", "0-2")
    waiter.deliver(b"s", received("0-3"))
    assert not later.done()
    waiter.deliver(b"s", received("0-2"))
    assert later.result(0) == received("0-2")
    given_up = waiter.wait_for("s", "0-4")
    assert given_up.cancel()
    waiter.deliver(b"s", received("0-4"))


def test_what_nobody_follows_is_not_kept() -> None:
    waiter = ListWaiter(Settings())
    waiter.follow("s")
    waiter.follow("s")
    waiter.leave("s")
    waiter.deliver(b"s", received("0-1"))
    assert waiter.wait_for("s", "0-1").done()
    waiter.leave("s")
    waiter.deliver(b"s", received("0-2"))
    with pytest.raises(KeyError):
        waiter.wait_for("s", "0-2")
