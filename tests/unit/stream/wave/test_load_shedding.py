from stream.wave.load_shedding import FULL, NEWEST_ONLY, POPULAR, LoadShedding


def test_without_budgets_every_event_gets_its_list() -> None:
    assert LoadShedding(None, None).update(10**9) == FULL


def test_the_level_rises_beyond_each_budget_and_falls_at_half_of_it() -> None:
    shedding = LoadShedding(100, 1_000)
    lags = [100, 101, 60, 50, 1_001, 600, 500, 60, 40]
    levels = [FULL, NEWEST_ONLY, NEWEST_ONLY, FULL, POPULAR, POPULAR, NEWEST_ONLY, NEWEST_ONLY, FULL]
    assert [shedding.update(lag) for lag in lags] == levels


def test_one_budget_can_be_given_alone() -> None:
    assert [LoadShedding(None, 10).update(lag) for lag in (10, 11)] == [FULL, POPULAR]
    assert LoadShedding(10, None).update(11) == NEWEST_ONLY
