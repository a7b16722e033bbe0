import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import NextclickError
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.purchases import (
    KEY,
    MOST_ITEMS,
    VALUE,
    Purchases,
    RejectedPurchase,
    decode_purchase,
    encode_purchase,
)
from stream.catalogue.rules import DAY_MS, Rules

texts = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())
bought = st.tuples(texts, texts, st.integers(0, 10**12))


@given(bought)
def test_a_record_is_read_as_it_was_written(one: tuple[str, str, int]) -> None:
    user, item, time_ms = one
    assert decode_purchase(*encode_purchase(user, item, time_ms)) == ((user, item), time_ms)
    assert decode_purchase(*encode_purchase(user, item, None)) == ((user, item), None)


@given(st.lists(bought, max_size=30), st.integers(0, 10**12))
def test_the_table_is_what_the_newest_purchase_of_each_pair_says_in_any_order_and_however_often(
    records: list[tuple[str, str, int]], since_ms: int
) -> None:
    purchases, newest = Purchases(), dict[tuple[str, str], int]()
    for user, item, time_ms in (*records, *reversed(records)):
        purchases.add(user, item, time_ms)
        newest[user, item] = max(time_ms, newest.get((user, item), 0))
    for user in {user for user, _ in newest}:
        wanted = {item for (of, item), time_ms in newest.items() if of == user and time_ms >= since_ms}
        assert set(purchases.since(user, since_ms)) == wanted


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, b'{"event_time_ms":5}', KEY),
        (b"u1", b'{"event_time_ms":5}', KEY),
        (b'["u1"]', b'{"event_time_ms":5}', KEY),
        (b'["","i"]', b'{"event_time_ms":5}', KEY),
        (b'["u1","' + b"i" * 257 + b'"]', b'{"event_time_ms":5}', KEY),
        (b'["\xff","i"]', b'{"event_time_ms":5}', KEY),
        (b'["u1","i"]', b"5", VALUE),
        (b'["u1","i"]', b"", VALUE),
        (b'["u1","i"]', b'{"event_time_ms":-1}', VALUE),
        (b'["u1","i"]', b'{"event_time_ms":NaN}', VALUE),
        (b'["u1","i"]', b'{"event_time_ms":99999999999999999999}', VALUE),
    ],
)
def test_what_is_no_purchase_is_counted_by_its_reason_and_what_was_known_stays(
    key: bytes | None, value: bytes, reason: str
) -> None:
    with pytest.raises(RejectedPurchase):
        decode_purchase(key, value)
    purchases = Purchases()
    good = encode_purchase("u1", "i", 7)
    purchases.apply([good, (key, value), good])
    assert dict(purchases.reading.rejected) == {reason: 1} and purchases.reading.records == 2
    assert purchases.since("u1", 0) == ["i"]


def test_a_user_keeps_the_newest_by_event_time_and_the_table_the_users_read_last() -> None:
    purchases = Purchases(most_users=2)
    for n in reversed(range(MOST_ITEMS + 10)):
        purchases.add("u1", f"i{n}", n)
    assert purchases.since("u1", 0) == [f"i{n}" for n in range(10, MOST_ITEMS + 10)]
    purchases.add("u2", "a", 1)
    purchases.add("u1", "b", 1_000)
    purchases.add("u3", "c", 1)
    assert (len(purchases), purchases.since("u2", 0)) == (2, [])
    assert purchases.since("u1", 1_000) == ["b"] and purchases.since("u3", 0) == ["c"]


def test_a_purchase_that_is_taken_back_is_gone_and_so_is_a_user_without_one() -> None:
    purchases = Purchases()
    purchases.apply([encode_purchase("u1", "a", 1), encode_purchase("u1", "b", 2)])
    purchases.apply([encode_purchase("u1", "a", None), encode_purchase("u9", "a", None)])
    assert purchases.since("u1", 0) == ["b"]
    purchases.remove("u1", "b")
    assert len(purchases) == 0


def test_a_late_purchase_is_written_with_the_time_of_the_newer_one() -> None:
    purchases = Purchases()
    assert purchases.time_of("u1", "a", 5) == 5
    purchases.add("u1", "a", 50)
    assert purchases.time_of("u1", "a", 5) == 50 and purchases.time_of("u1", "b", 5) == 5


def test_rules_that_need_purchases_are_refused_where_no_topic_keeps_them() -> None:
    catalogue, rules = Catalogue(), Rules.parse("[session]\nbought_days = 30", "v2")
    catalogue.set_rules(Rules.parse("", "v1"))
    with pytest.raises(NextclickError, match="version v2 need what users bought"):
        catalogue.set_rules(rules)
    assert catalogue.rules.version == "v1"
    catalogue.purchases.is_kept = True
    catalogue.set_rules(rules)
    assert catalogue.rules.session.bought_ms == 30 * DAY_MS


def test_rules_that_publish_placements_are_refused_where_no_topic_takes_them() -> None:
    catalogue = Catalogue()
    catalogue.publishes_placements = False
    catalogue.set_rules(Rules.parse("[placement.basket]", "v1"))
    rules = Rules.parse("[placement.basket]\npublished = true", "v2")
    with pytest.raises(NextclickError, match="version v2 publish placements, and no topic takes them"):
        catalogue.set_rules(rules)
    assert catalogue.held_rules.version == "v1"
    catalogue.publishes_placements = True
    catalogue.set_rules(rules)
    assert list(catalogue.held_rules.published) == ["basket"]


@pytest.mark.parametrize("days", ["0", "-1", "nan", "inf", "366", '"30"', "true"])
def test_days_that_make_no_sense_are_no_rule(days: str) -> None:
    with pytest.raises(ValueError, match="bought_days"):
        Rules.parse(f"[session]\nbought_days = {days}")
