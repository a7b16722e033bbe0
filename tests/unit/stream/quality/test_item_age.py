from stream.quality.item_age import DAY, HOUR, OLDER, TRAINED, WEEK, ItemAges

DAY_MS = 86_400_000


def test_an_item_that_was_known_when_it_was_first_seen_stays_trained() -> None:
    ages = ItemAges()
    assert ages.age("i", 0, True) == TRAINED
    assert ages.age("i", 10 * DAY_MS, True) == TRAINED


def test_a_late_event_makes_its_item_older() -> None:
    ages = ItemAges()
    assert ages.age("i", 5 * DAY_MS, False) == HOUR
    assert ages.age("i", 3 * DAY_MS, False, learn=False) == HOUR
    assert ages.age("i", 4 * DAY_MS, False) == HOUR
    assert ages.age("i", 5 * DAY_MS - 1, False) == DAY
    assert ages.age("i", 5 * DAY_MS, False) == WEEK
    assert ages.age("i", 11 * DAY_MS, False) == OLDER


def test_no_more_items_are_kept_than_allowed_and_the_newest_are() -> None:
    ages = ItemAges(most=10)
    for number in range(100):
        assert ages.age(f"i{number}", number * DAY_MS, False) == HOUR
    assert len(ages._first_ms) == 10
    assert ages.age("i99", 108 * DAY_MS, False) == OLDER
    assert ages.age("i89", 108 * DAY_MS, False) == HOUR
