import numpy as np
import torch

from model.data.co_clicks import CoClicks
from model.data.sessions import Sessions

SESSIONS = Sessions(
    np.array([0, 4, 6]),
    np.array([0, 1, 2, 0, 2, -1]),
    np.array([0, 10, 20, 30, 15, 25]),
    np.array(["s", "t"]),
)


def test_co_clicks_are_pairs_of_one_session_from_either_item_by_the_later_click() -> None:
    found = CoClicks.of(SESSIONS, near=2)
    pairs = list(zip(found.times_ms.tolist(), found.items.tolist(), found.neighbours.tolist(), strict=True))
    # 0 and 0 are the same item; the last 0 and the 1 are two clicks apart; -1 is no item.
    expected = [(10, 0, 1), (10, 1, 0), (20, 0, 2), (20, 2, 0), (20, 1, 2), (20, 2, 1)]
    expected += [(30, 0, 2), (30, 2, 0), (30, 0, 1), (30, 1, 0)]
    assert sorted(pairs) == sorted(expected)
    assert found.times_ms.tolist() == sorted(found.times_ms.tolist())


def test_a_log_without_neighbours_has_no_co_clicks() -> None:
    alone = Sessions(np.array([0, 1, 2]), np.array([0, 1]), np.array([0, 5]), np.array(["s", "t"]))
    assert not len(CoClicks.of(alone).items)
    assert torch.from_numpy(CoClicks.of(alone).neighbours).dtype == torch.int64
