"""Brings the best candidates of a list into the order that rules ask for: boosts, caps, pins.

Boosted items come up by places, not by scores, since every network has its own. A cap is held while other
candidates are left; then the best of those beyond it fill the list. Scores belong to places: they fall
along the list as the candidates' scores do.

Shapes: B sessions, N candidates, k list length, C caps.
Tested by tests/unit/stream/wave/test_arrangement.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from model.compiled import compiled
from model.config import LIST_LENGTH

Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]


@compiled
def within_caps(order_BN: Longs, groups_CBN: Ints, most_C: Longs, k: int) -> Longs:
    """The places of the candidates that make each list, B×k, padded with -1.

    `order_BN` are the candidates' places, best first, padded with -1; `groups_CBN` their brand or category
    for each cap, negative where they have none; `most_C` how many of one may be in a list.
    """
    chosen_Bk = np.full((len(order_BN), k), -1, np.int64)
    for b in range(len(order_BN)):
        count = 0
        beyond = np.zeros(order_BN.shape[1], np.bool_)
        for n in range(order_BN.shape[1]):
            at = order_BN[b, n]
            if at < 0 or count == k:
                break
            for c in range(len(most_C)):
                same, group = 0, groups_CBN[c, b, at]
                if group >= 0:
                    for m in range(count):
                        same += groups_CBN[c, b, chosen_Bk[b, m]] == group
                beyond[n] |= same >= most_C[c]
            if not beyond[n]:
                chosen_Bk[b, count] = at
                count += 1
        for n in range(order_BN.shape[1]):
            if count == k:
                break
            if beyond[n]:
                chosen_Bk[b, count] = order_BN[b, n]
                count += 1
    return chosen_Bk


def by_rules(
    counts_B: Longs, up_BN: Ints | None, groups_CBN: Ints, most_C: Longs, k: int = LIST_LENGTH
) -> Longs:
    """The places of the candidates that make each list, B×k: best first after boosts, within the caps.

    `counts_B` says how many candidates each session has, `up_BN` by how many places each comes up.

    >>> brand = np.array([[[7, 7, 7, 8]]], np.int32)
    >>> by_rules(np.array([4]), None, brand, np.array([2]), k=4).tolist()
    [[0, 1, 3, 2]]
    """
    places_BN = np.broadcast_to(np.arange(groups_CBN.shape[2]), groups_CBN.shape[1:])
    order_BN = places_BN.astype(np.int64)
    if up_BN is not None:
        # An item that comes up goes before the one whose place it takes.
        keys_BN = 2 * (places_BN - up_BN) - (up_BN > 0)
        keys_BN = np.where(places_BN < counts_B[:, None], keys_BN, 4 * places_BN.shape[1])
        order_BN = np.argsort(keys_BN, axis=1, kind="stable")
    order_BN = np.where(places_BN < counts_B[:, None], order_BN, -1)
    return within_caps(order_BN, groups_CBN, most_C, k)


def with_pins(
    items: Sequence[str], pins: Iterable[tuple[str, int]], masked: set[str], k: int = LIST_LENGTH
) -> list[str]:
    """The list with each pinned item, but for the `masked` ones, at its place, from 1; at most k items.

    >>> with_pins(["a", "b", "c"], [("c", 1), ("new", 3), ("seen", 2)], {"seen"})
    ['c', 'a', 'new', 'b']
    """
    wanted = [(item, place) for item, place in pins if item not in masked]
    if not wanted:
        return list(items)
    names = {item for item, _ in wanted}
    pinned = [item for item in items if item not in names]
    for item, place in sorted(wanted, key=lambda pin: pin[1]):
        pinned.insert(place - 1, item)
    return pinned[:k]
