"""A promotion waits for the lead that `gate_experiment` names, and says why it has to."""

from unittest.mock import Mock, patch

import numpy as np
import pytest

from model.errors import NextclickError
from stream.experiments.experiment import CHALLENGER, CHAMPION, Experiment
from stream.outcomes.comparison import Comparison
from stream.outcomes.lead import check_lead, lead_by
from stream.outcomes.outcome import Outcome, Taken
from stream.settings import Settings

ONE = Experiment("e1", "v1", "v2", 0.5, "split")
SETTINGS = Settings(gate_experiment="purchases")
MODULE = "stream.outcomes.lead"


def comparison(champion: float, challenger: float, sessions: int = 2_000) -> Comparison:
    """Sessions of both sides that have bought something at these rates."""
    made, draws_2T = Comparison("e1"), np.random.default_rng(3).random((2, sessions))
    for draws_T, side, rate in zip(draws_2T, (CHAMPION, CHALLENGER), (champion, challenger), strict=True):
        for number, draw in enumerate(draws_T):
            taken = [Taken("0-9", "i", "purchase", 1, 60)] if draw < rate else []
            one = Outcome(f"{side}{number}", "0-1", 0, "v", ["i"], taken, 9, experiment="e1", side=side)
            made.add([one])
    return made


def checked(*found: Comparison | None, running: Experiment | None = ONE, waits: bool = False) -> list[str]:
    """Ask whether v2 may be promoted over v1; the comparisons are seen one after the other."""
    said: list[str] = []
    with (
        patch(f"{MODULE}.announced_experiment", Mock(return_value=running)),
        patch(f"{MODULE}.compared", Mock(side_effect=list(found))),
    ):
        check_lead(SETTINGS, "v2", lambda: "v1", waits=waits, notify=said.append, sleep=lambda seconds: None)
    return said


def test_only_a_challenger_that_leads_may_be_promoted() -> None:
    checked(comparison(0.1, 0.3))
    for found, why in (
        (comparison(0.3, 0.1), "v2 does not lead in purchases: the champion leads"),
        (comparison(0.2, 0.2), "v2 does not lead in purchases: neither leads yet"),
        (comparison(0.0, 1.0, sessions=60), "60 and 60 sessions .* are too few: 100 of each"),
        (None, "nothing is recorded of its lists"),
    ):
        with pytest.raises(NextclickError, match=why) as refused:
            checked(found)
        assert "--regardless" in refused.value.remedy and "CHAMPION is unchanged" in refused.value.meaning


def test_it_waits_while_neither_leads_and_no_longer() -> None:
    said = checked(None, comparison(0.2, 0.2), comparison(0.1, 0.3), waits=True)
    assert len(said) == 2 and all("does not lead in purchases yet" in text for text in said)
    with pytest.raises(NextclickError, match="the champion leads"):
        checked(None, comparison(0.3, 0.1), waits=True)


def test_it_waits_through_an_outage_of_the_brokers_and_not_for_ever() -> None:
    away = NextclickError("no broker answers", "Nothing was read.", "Start one.")
    clock_s = iter(range(0, 10_000_000, 100))
    with (
        patch(f"{MODULE}.announced_experiment", Mock(side_effect=[away, ONE, away, ONE])),
        patch(f"{MODULE}.compared", Mock(side_effect=[None, comparison(0.1, 0.3)])),
    ):
        said: list[str] = []
        lead = check_lead(
            SETTINGS,
            "v2",
            lambda: "v1",
            waits=True,
            notify=said.append,
            sleep=lambda seconds: None,
            now_s=lambda: next(clock_s),
        )
    assert lead == "v1" and [text[:14] for text in said].count("looked in vain") == 2
    with (
        patch(f"{MODULE}.announced_experiment", Mock(side_effect=away)),
        pytest.raises(NextclickError, match="no broker answers"),
    ):
        check_lead(
            SETTINGS,
            "v2",
            lambda: "v1",
            waits=True,
            sleep=lambda seconds: None,
            now_s=lambda: next(clock_s),
        )


def test_a_champion_of_meanwhile_is_not_replaced_by_what_was_held_against_another() -> None:
    champions = iter(["v1", "v9"])
    with (
        patch(f"{MODULE}.announced_experiment", Mock(return_value=ONE)),
        patch(f"{MODULE}.compared", Mock(return_value=None)),
        pytest.raises(NextclickError, match="no experiment holds v2 against v9"),
    ):
        check_lead(SETTINGS, "v2", lambda: next(champions), waits=True, sleep=lambda seconds: None)


@pytest.mark.parametrize(
    ("running", "why"),
    [
        (None, "no experiment holds v2 against v1: none runs"),
        (Experiment("e1", "v0", "v2", 0.5, "split"), "e1 is of v2"),
        (Experiment("e1", "v1", "v3", 0.5, "split"), "e1 is of v3"),
    ],
)
def test_an_experiment_of_other_versions_says_nothing(running: Experiment | None, why: str) -> None:
    with pytest.raises(NextclickError, match=why):
        checked(comparison(0.1, 0.3), running=running, waits=True)


def test_without_the_setting_or_a_champion_nothing_is_asked() -> None:
    with patch(f"{MODULE}.announced_experiment", Mock(side_effect=AssertionError)):
        assert check_lead(Settings(), "v2", lambda: "v1") is None
        assert check_lead(SETTINGS, "v2", lambda: None) is None
        assert check_lead(SETTINGS, "v1", lambda: "v1") is None


def test_other_measures_do_not_count() -> None:
    found = comparison(0.1, 0.3)
    assert lead_by("purchases", found).leader == CHALLENGER
    assert lead_by("baskets", found).leader == ""
