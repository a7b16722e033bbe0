from dataclasses import replace

import numpy as np
import pytest

from model.comparison.gate import Contender, Decision, GateRule, decide
from model.evaluation.rank_targets import Ranks

SESSIONS = 400


def contender(
    name: str, hit_rate: float, seed: int = 0, sessions: int = SESSIONS, step_ms: float | None = 1.0
) -> Contender:
    """Three targets a session; a share of them ranks first, the rest is missed."""
    # The same luck for all with the same seed: differences are paired.
    luck = np.random.default_rng(seed).random(3 * sessions)
    ranks = np.where(luck < hit_rate, 1, 0)
    of_sessions = np.repeat(np.arange(sessions), 3)
    return Contender(name, Ranks(ranks, of_sessions, sessions, 0, 20, np.zeros(5, np.int64), 1.0), step_ms)


def decided(challenger: float, champion: float, rule: GateRule | None = None) -> Decision:
    pop = contender("POP", 0.05)
    return decide(contender("new", challenger), contender("old", champion), [pop], rule or GateRule())


def test_a_better_challenger_is_accepted() -> None:
    decision = decided(0.5, 0.4)
    assert decision.accepted
    assert not decision.reasons
    lead = decision.standings[1].recall_lead
    assert lead is not None
    assert 0 < lead.low < lead.mean < lead.high
    assert decision.standings[0].recall.mean == pytest.approx(0.5, abs=0.03)
    assert (decision.targets, decision.sessions) == (3 * SESSIONS, SESSIONS)


def test_a_worse_challenger_is_refused_in_both_measures_with_its_figures() -> None:
    decision = decided(0.3, 0.4)
    assert not decision.accepted
    recall, mrr = decision.reasons
    assert recall.startswith("Recall@20 0.2858 where old has 0.3842")
    assert mrr.startswith("MRR@20 0.2858")
    assert "0.0100 may be lost; it is worse" in recall


def test_an_equal_challenger_is_accepted_within_the_margin_and_not_without_one() -> None:
    assert decided(0.4, 0.4).accepted
    decision = decided(0.4, 0.4, GateRule(margin=0.0))
    assert not decision.accepted
    assert "is not shown" in decision.reasons[0]


def test_a_challenger_that_may_be_worse_than_the_margin_has_to_show_that_it_is_not() -> None:
    # Equal on the whole, but not on the same targets: the paired difference is wide.
    other = contender("old", 0.4, seed=1)
    decision = decide(contender("new", 0.4), other, [contender("POP", 0.05)], GateRule(margin=0.001))
    assert not decision.accepted
    assert any("is not shown" in reason for reason in decision.reasons)
    assert decide(contender("new", 0.4), other, [], GateRule(margin=0.2)).accepted


def test_too_few_sessions_decide_nothing() -> None:
    few = GateRule(min_sessions=SESSIONS + 1)
    decision = decided(0.5, 0.4, few)
    assert decision.reasons == [
        "only 400 sessions with 1,200 next events to judge by, where 401 are asked for"
    ]
    assert decided(0.5, 0.4, GateRule(min_sessions=SESSIONS)).accepted


def test_without_any_target_there_is_a_refusal_and_no_error() -> None:
    decision = decide(
        contender("new", 0, sessions=0), contender("old", 0, sessions=0), [], GateRule(min_sessions=1)
    )
    assert not decision.accepted


def test_a_slower_step_is_refused() -> None:
    slow = contender("new", 0.5, step_ms=2.1)
    decision = decide(slow, contender("old", 0.4), [], GateRule(step_factor=2))
    assert decision.reasons == [
        "a step takes 2.100 ms, 2.10 times the 1.000 ms of old, where 2 times are allowed"
    ]
    assert decide(slow, contender("old", 0.4), [], GateRule(step_factor=2.2)).accepted


def test_weights_that_are_no_numbers_are_refused_however_well_they_rank() -> None:
    good = contender("new", 0.9)
    broken = Contender(good.name, good.ranks, good.step_ms, not_finite=["bias_V"])
    assert decide(broken, contender("old", 0.4), [], GateRule()).reasons == [
        "weights that are no numbers: bias_V"
    ]


def test_a_baseline_refuses_only_what_is_not_better_than_the_champion() -> None:
    pop, transitions = contender("POP", 0.1), contender("transitions", 0.6)
    level = decide(contender("new", 0.4), contender("old", 0.4), [pop, transitions], GateRule())
    assert not level.accepted
    assert level.reasons[0].startswith("transitions reaches a Recall@20 of 0.5850")
    better = decide(contender("new", 0.5), contender("old", 0.4), [pop, transitions], GateRule())
    assert better.accepted
    assert "old is worse still" in better.notes[0]


def test_a_first_model_has_to_stand_beside_pop() -> None:
    pop, transitions = contender("POP", 0.3), contender("transitions", 0.2)
    assert decide(contender("new", 0.4), None, [pop, transitions], GateRule()).accepted
    told = decide(contender("new", 0.4), None, [pop, contender("transitions", 0.6)], GateRule())
    assert told.accepted
    assert "transitions reaches" in told.notes[0]
    refused = decide(contender("new", 0.2), None, [pop, transitions], GateRule())
    assert "where POP has" in refused.reasons[0]


def test_contenders_of_other_targets_are_no_pair() -> None:
    with pytest.raises(ValueError, match="old has not ranked"):
        decide(contender("new", 0.5), contender("old", 0.4, sessions=399), [], GateRule())


def alone(hit_rate: float) -> Contender:
    return replace(contender("neighbours alone", hit_rate), is_source=True)


def test_a_fused_list_that_is_below_one_of_its_sources_is_refused() -> None:
    pop, champion = contender("POP", 0.05), contender("old", 0.5)
    below = decide(contender("new", 0.5), champion, [pop, alone(0.56)], GateRule())
    assert not below.accepted
    assert [reason[:40] for reason in below.reasons] == [
        "neighbours alone reaches a Recall@20 of ",
        "neighbours alone reaches a MRR@20 of 0.5",
    ]
    assert "its ranker misleads" in below.reasons[0]
    # As much may be lost as beside the champion.
    assert decide(contender("new", 0.5), champion, [pop, alone(0.56)], GateRule(margin=0.1)).accepted
    # Not below by more than noise: the same, or a difference of a few targets either way.
    for rate in (0.4, 0.5, 0.5005):
        assert decide(contender("new", 0.5), champion, [pop, alone(rate)], GateRule()).accepted
    # A champion that is worse still would otherwise go on serving.
    told = decide(contender("new", 0.5), contender("old", 0.4), [pop, alone(0.56)], GateRule())
    assert told.accepted
    assert "old is worse still" in told.notes[0]
    assert [row.name for row in told.standings][-1] == "neighbours alone"
