import pytest

from stream.experiments.experiment import (
    CHALLENGER,
    CHAMPION,
    INTERLEAVE,
    INTERLEAVED,
    SPLIT,
    Experiment,
    decode_experiment,
    encode_experiment,
)

SESSIONS = [f"session-{number}" for number in range(20_000)]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_the_share_of_the_sessions_is_the_challengers_and_each_session_keeps_its_side(share: float) -> None:
    one = Experiment("e1", "a", "b", share, SPLIT)
    sides = [one.side_of(session) for session in SESSIONS]
    assert sides == [one.side_of(session) for session in SESSIONS]
    assert set(sides) == {CHAMPION, CHALLENGER}
    # Five deviations of a binomial share.
    assert abs(sides.count(CHALLENGER) / len(sides) - share) < 5 * (share * (1 - share) / len(sides)) ** 0.5
    assert one.propensity(CHAMPION) + one.propensity(CHALLENGER) == 1


def test_sides_of_two_experiments_are_independent() -> None:
    """Else the sessions that the first one changed would all be on one side of the second."""
    first, second = (Experiment(name, "a", "b", 0.5, SPLIT) for name in ("e1", "e2"))
    both = sum(first.side_of(s) == second.side_of(s) == CHALLENGER for s in SESSIONS)
    assert abs(both / len(SESSIONS) - 0.25) < 0.02


def test_an_interleaved_experiment_leaves_the_other_sessions_alone() -> None:
    one = Experiment("e1", "a", "b", 0.3, INTERLEAVE)
    assert {one.side_of(session) for session in SESSIONS} == {INTERLEAVED, ""}
    assert dict(one.headers(INTERLEAVED)) == {
        "experiment": b"e1",
        "side": b"interleaved",
        "propensity": b"0.5",
    }


def test_an_experiment_comes_back_from_its_announcement_and_no_value_ends_it() -> None:
    one = Experiment("e1", "a", "b", 0.3, INTERLEAVE)
    assert decode_experiment(encode_experiment(one)) == one
    assert decode_experiment(None) is None
    assert decode_experiment(b"") is None
