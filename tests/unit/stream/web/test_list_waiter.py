import pytest

from model.errors import NextclickError
from stream.events import Recommendation
from stream.kafka.lists_reader import Received
from stream.settings import Settings
from stream.web import list_waiter as list_watch
from stream.web.list_waiter import ListWaiter


def received(event_id: str) -> Received:
    return Received(Recommendation("s", event_id, 1, "v", [], []), 0, 0, {})


def test_without_a_broker_it_says_so_and_begins_anew_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_watch, "ANSWER_TIMEOUT_S", 0.2)
    watch = ListWaiter(Settings(bootstrap_servers="127.0.0.1:9"))
    for _ in range(2):
        with pytest.raises(NextclickError, match="no Kafka broker answered"):
            watch.open("s")


def test_a_list_is_found_whether_it_comes_before_it_is_waited_for_or_after() -> None:
    watch = ListWaiter(Settings())
    watch.follow("s")
    watch.take_in(b"s", received("0-1"))
    assert watch.wait_for("s", "0-1").result(0) == received("0-1")
    later = watch.wait_for("s", "0-2")
    watch.take_in(b"s", received("0-3"))
    assert not later.done()
    watch.take_in(b"s", received("0-2"))
    assert later.result(0) == received("0-2")
    given_up = watch.wait_for("s", "0-4")
    assert given_up.cancel()
    watch.take_in(b"s", received("0-4"))


def test_what_nobody_follows_is_not_kept() -> None:
    watch = ListWaiter(Settings())
    watch.follow("s")
    watch.follow("s")
    watch.leave("s")
    watch.take_in(b"s", received("0-1"))
    assert watch.wait_for("s", "0-1").done()
    watch.leave("s")
    watch.take_in(b"s", received("0-2"))
    with pytest.raises(KeyError):
        watch.wait_for("s", "0-2")
