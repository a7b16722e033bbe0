import numpy as np
import pytest

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from replay.cadence.live_baselines import HOUR_MS, LastHourPop, LiveBaseline, LiveTransitions, live_ranks
from tests.harness.markov_shoppers import markov_shoppers

ITEMS = 12


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    # 3,000 sessions: three hours, so that the last hour is not all there is.
    frame = markov_shoppers(sessions=3000, items=ITEMS, noise=0.3, seed=5).frame
    return Sessions.from_frame(frame, Vocabulary.from_frame(frame), SessionRule(None))


def naive_rank(
    name: str, sessions: Sessions, order: list[int], place: int, own: list[int], exclude: bool
) -> int:
    """Counted anew from all events that come before, by their order."""
    row, before = order[place], order[:place]
    of = np.searchsorted(sessions.offsets, row, side="right") - 1
    target, last = sessions.items[row], sessions.items[row - 1]
    scores: dict[int, tuple[int, int]] = {}
    for earlier in before:
        item, at_ms = int(sessions.items[earlier]), int(sessions.times_ms[earlier])
        if name == "pop":
            counted = at_ms >= sessions.times_ms[row] - HOUR_MS
            at_ms = 0
        else:
            counted = earlier not in sessions.offsets and sessions.items[earlier - 1] == last
        if counted:
            scores[item] = (scores.get(item, (0, 0))[0] + 1, at_ms)
    hidden = {int(sessions.items[r]) for r in own if r < row} if exclude else set()
    assert all(sessions.offsets[of] <= r for r in own)
    if target in hidden or target not in scores:
        return 0
    return sum(score >= scores[int(target)] for item, score in scores.items() if item not in hidden)


@pytest.mark.parametrize("exclude", [False, True])
def test_live_ranks_are_those_counted_anew_before_every_event(sessions: Sessions, exclude: bool) -> None:
    models: dict[str, LiveBaseline] = {"pop": LastHourPop(), "transitions": LiveTransitions(ITEMS)}
    targets = np.ones(len(sessions.items), bool)
    targets[sessions.offsets[:-1]] = False
    ranks = live_ranks(models, sessions, targets, exclude)
    order = np.argsort(sessions.times_ms, kind="stable").tolist()
    place_of = {row: place for place, row in enumerate(order)}
    rows = np.flatnonzero(targets)
    for asked in np.random.default_rng(0).choice(len(rows), 60, replace=False).tolist():
        row = int(rows[asked])
        of = int(np.searchsorted(sessions.offsets, row, side="right")) - 1
        own = list(range(int(sessions.offsets[of]), row))
        for name in models:
            expected = naive_rank(name, sessions, order, place_of[row], own, exclude)
            assert ranks[name][asked] == expected, (name, row)
    assert (ranks["pop"] == 0).any() or not exclude
    assert len(set(ranks["transitions"].tolist())) > 3


def test_an_event_is_ranked_before_it_is_learned() -> None:
    once = Sessions(np.array([0, 2]), np.array([0, 1]), np.array([0, 1000]), np.array(["s"]))
    models: dict[str, LiveBaseline] = {"pop": LastHourPop(), "transitions": LiveTransitions(2)}
    ranks = live_ranks(models, once, np.array([False, True]))
    assert ranks["pop"].tolist() == ranks["transitions"].tolist() == [0]
