from typing import Any

import numpy as np
import torch

from model.data.sessions import RECENT_ITEMS, Sessions
from model.networks.fused.candidates import gather
from model.networks.fused.live_tables import STANDING
from model.networks.fused.source_arrays import (
    CURRENT,
    FEATURES,
    NEIGHBOURS_SHARE,
    NETWORK_RANK,
    NEXT_RANK,
    NEXT_SHARE,
    OWN,
    OWN_COUNT,
    POPULARITY,
    SOURCES,
    STANDING_FEATURES,
)
from model.networks.fused.source_tables import SourceTables

# Items a to f are 0 to 5.
LOG = ["abc", "abd", "abd", "ce"]


def sessions_of(log: list[str]) -> Sessions:
    items = np.array(["abcdef".index(item) for session in log for item in session])
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    times = np.concatenate([3_600_000 * n + 60_000 * np.arange(len(s)) for n, s in enumerate(log)])
    return Sessions(offsets, items, times, np.array([f"s{n}" for n in range(len(log))], object))


def tables(log: list[str]) -> SourceTables:
    found = SourceTables(6)
    found.fit(sessions_of(log))
    return found


def candidates_of(
    session: str, proposed: str = "", log: list[str] = LOG, **limits: int
) -> dict[str, dict[int, float]]:
    """Each candidate's features after the session's events, given what the network proposes."""
    recent = [int("abcdef".index(item)) for item in reversed(session)]
    recent_BR = np.full((1, RECENT_ITEMS), -1, np.int32)
    recent_BR[0, : len(recent)] = recent
    ids = np.array([["abcdef".index(item) for item in proposed] or [-1]], np.int64)
    scores = np.arange(0, -ids.shape[1], -1, dtype=np.float32)[None]
    settings: dict[str, Any] = {"neighbours": 100, "sampled": 1000, **limits}
    ids_BC, features_BCF, count_B = gather(
        recent_BR, ids, scores, tables(log).arrays(), STANDING, settings["neighbours"], settings["sampled"]
    )
    assert (ids_BC[0, count_B[0] :] == -1).all()
    found = ids_BC[0, : count_B[0]].tolist()
    assert len(set(found)) == len(found)
    assert np.isfinite(features_BCF[0, : count_B[0]]).all()
    return {
        "abcdef"[item]: dict(enumerate(features_BCF[0, place].tolist())) for place, item in enumerate(found)
    }


def test_the_sessions_own_items_are_candidates_the_newest_is_the_current_one() -> None:
    found = candidates_of("fef")
    assert found["f"][OWN] == found["e"][OWN] == 1
    assert (found["f"][CURRENT], found["e"][CURRENT]) == (1, 0)
    assert np.isclose(found["f"][OWN_COUNT], np.log(2))
    assert found["e"][OWN_COUNT] == 0


def test_next_items_are_those_that_came_after_the_newest_item_by_share() -> None:
    found = candidates_of("ab")
    assert np.isclose(found["d"][NEXT_SHARE] ** 2, 2 / 3)
    assert np.isclose(found["c"][NEXT_SHARE] ** 2, 1 / 3)
    assert found["d"][NEXT_RANK] > found["c"][NEXT_RANK] > 0
    assert found["a"][NEXT_RANK] == 0


def test_neighbours_propose_the_items_of_similar_sessions() -> None:
    found = candidates_of("ab")
    # All three sessions with a and b are equally similar: d is in two of them.
    assert np.isclose(found["d"][NEIGHBOURS_SHARE] / found["c"][NEIGHBOURS_SHARE], 2)
    # Only the newest of them counts.
    assert candidates_of("ab", neighbours=1)["c"][NEIGHBOURS_SHARE] == 0
    assert candidates_of("ab", sampled=1)["c"][NEIGHBOURS_SHARE] == 0


def test_a_source_without_a_word_about_an_item_leaves_its_features_0() -> None:
    found = candidates_of("f", proposed="e")
    assert found["e"][NETWORK_RANK] > 0
    assert found["b"][NETWORK_RANK] == 0
    standing = {name: feature for name, feature in SOURCES.items() if feature < STANDING_FEATURES}
    assert all(found["b"][feature] == 0 for name, feature in standing.items() if name != "own items")


def test_a_session_without_events_gets_popular_items() -> None:
    found = candidates_of("")
    assert set(found) == set("abcdef")
    assert found["a"][POPULARITY] > found["e"][POPULARITY]


def test_items_that_the_sources_do_not_know_are_candidates_without_their_features() -> None:
    recent_BR = np.full((1, RECENT_ITEMS), -1, np.int32)
    recent_BR[0, :2] = 9, 0
    ids = np.array([[8, 1]], np.int64)
    arrays = tables(LOG).arrays()
    ids_BC, features_BCF, count_B = gather(
        recent_BR, ids, np.zeros((1, 2), np.float32), arrays, STANDING, 100, 1000
    )
    assert {8, 9, 0, 1} <= set(ids_BC[0, : count_B[0]].tolist())
    assert np.isfinite(features_BCF[0, : count_B[0]]).all()


def test_a_session_gives_the_same_candidates_in_any_wave() -> None:
    arrays = tables(LOG).arrays()
    recent_BR = np.full((3, RECENT_ITEMS), -1, np.int32)
    recent_BR[0, :3], recent_BR[1, :1], recent_BR[2, :2] = (1, 0, 2), (4,), (3, 3)
    ids = np.tile(np.array([[1, 2]], np.int64), (3, 1))
    scores = np.tile(np.array([[1.0, 0.5]], np.float32), (3, 1))
    together = gather(recent_BR, ids, scores, arrays, STANDING, 100, 1000)
    for row in range(3):
        part = slice(row, row + 1)
        alone = gather(recent_BR[part], ids[part], scores[part], arrays, STANDING, 100, 1000)
        count = together[2][row]
        assert count == alone[2][0]
        assert (together[0][row] == alone[0][0]).all()
        assert (together[1][row, :count] == alone[1][0, :count]).all()


def test_there_is_a_name_for_every_feature() -> None:
    assert len(set(FEATURES)) == len(FEATURES)
    assert all(0 <= feature < len(FEATURES) for feature in SOURCES.values())


def test_wrong_arrays_are_refused_before_the_pass_reads_them() -> None:
    good = dict(tables(LOG).named_buffers())
    SourceTables(6).take(good)
    for name, wrong in {
        "next_items_P": torch.full_like(good["next_items_P"], 6),
        "item_sessions_P": torch.full_like(good["item_sessions_P"], 4),
        "next_begins_V1": good["next_begins_V1"] + 1,
        "session_begins_S1": good["session_begins_S1"][:-1],
        "popular_N": torch.tensor([-1], dtype=torch.int32),
        "repeats_V": good["repeats_V"][:-1],
        "near_weights_P": good["near_weights_P"].double(),
    }.items():
        try:
            SourceTables(6).take({**good, name: wrong})
        except RuntimeError:
            continue
        raise AssertionError(f"a wrong {name} was taken")
