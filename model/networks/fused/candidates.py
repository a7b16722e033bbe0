"""The candidates of each session of a wave, and their features: one compiled pass over all sources.

Each source proposes items; the union of the proposals, each item once, is ranked afterwards. The
features of a source that does not propose an item are 0, which no proposed item's rank has.

Shapes: B sessions in the wave, R newest items, N items proposed by the network, V items, C candidates,
F features.
Tested by tests/unit/model/networks/fused/test_candidates.py.
"""

from __future__ import annotations

import numpy as np

from model.compiled import compiled
from model.networks.fused.neighbours import (
    ITEM_SLOTS,
    SESSION_SLOTS,
    add_neighbours,
    empty_sums,
)
from model.networks.fused.source_arrays import (
    CANDIDATE_SLOTS,
    CANDIDATES,
    CURRENT,
    FEATURES,
    FRESHNESS,
    NEAR_SHARE,
    NEAR_SHARE_NOW,
    NEIGHBOURS_SIMILARITY,
    NETWORK_GAP,
    NETWORK_RANK,
    NETWORK_SCORE,
    NEXT_COUNT,
    NEXT_COUNT_NOW,
    NEXT_RANK,
    NEXT_RANK_NOW,
    NEXT_SHARE,
    NEXT_SHARE_NOW,
    NEXT_TOTAL,
    NEXT_TOTAL_NOW,
    OWN,
    OWN_AGE,
    OWN_COUNT,
    OWN_REPEATS,
    POPULAR_NOW,
    POPULAR_RANK_NOW,
    POPULARITY,
    SESSION_LENGTH,
    STANDING_FEATURES,
    Candidates,
    Floats,
    Ints,
    LiveArrays,
    Longs,
    SourceArrays,
    add,
    rank_value,
)

NEAR_EVENTS = 5  # newest distinct items whose near items are added up
NEAR_DECAY = 0.7
LOWEST = -12.0  # network scores this far below the best one are not told apart
GAP_RANK = 9  # of the item that is compared with the network's best


@compiled
def add_own(candidates: Candidates, recent_R: Ints, arrays: SourceArrays) -> tuple[int, int]:
    """Add the session's own items, newest first. Returns how many they are, and the session's length."""
    count, length = 0, 0
    features_CF = candidates.features_CF
    for item in recent_R:
        if item < 0:
            break
        length += 1
        before = count
        place, count = add(candidates, count, item)
        if count > before:
            features_CF[place, OWN] = 1
            features_CF[place, OWN_AGE] = 1 / np.sqrt(length)
            if item < len(arrays.repeats_V):
                features_CF[place, OWN_REPEATS] = arrays.repeats_V[item]
        features_CF[place, OWN_COUNT] += 1
    for place in range(count):
        features_CF[place, OWN_COUNT] = np.log(features_CF[place, OWN_COUNT])
    if length:
        features_CF[0, CURRENT] = 1
    return count, length


@compiled
def add_network(candidates: Candidates, count: int, ids_N: Longs, scores_N: Floats) -> tuple[int, float]:
    """Add the network's best items. Returns the number of candidates, and the lead of the network's best."""
    listed = 0
    for n in range(len(ids_N)):
        if ids_N[n] < 0:
            break
        listed += 1
        place, count = add(candidates, count, ids_N[n])
        if place >= 0:
            below = max(LOWEST, scores_N[n] - scores_N[0])
            candidates.features_CF[place, NETWORK_SCORE] = 1 + (below - LOWEST) / 4
            candidates.features_CF[place, NETWORK_RANK] = rank_value(n, len(ids_N))
    if not listed:
        return count, 0.0
    return count, float(scores_N[0] - scores_N[min(GAP_RANK, listed - 1)])


@compiled
def add_next(candidates: Candidates, count: int, newest: int, arrays: SourceArrays) -> tuple[int, float]:
    """Add what followed the newest item. Returns the number of candidates, and how often anything did."""
    if newest < 0 or newest >= len(arrays.next_totals_V):
        return count, 0.0
    total = arrays.next_totals_V[newest]
    begin, end = arrays.next_begins_V1[newest], arrays.next_begins_V1[newest + 1]
    for at in range(begin, end):
        place, count = add(candidates, count, arrays.next_items_P[at])
        if place >= 0:
            candidates.features_CF[place, NEXT_SHARE] = np.sqrt(arrays.next_counts_P[at] / total)
            candidates.features_CF[place, NEXT_COUNT] = np.log(1 + arrays.next_counts_P[at])
            candidates.features_CF[place, NEXT_RANK] = rank_value(at - begin, end - begin)
    return count, total


@compiled
def divide(features_CF: Floats, count: int, feature: int, largest: float) -> None:
    """Divide a feature of all candidates by its largest value, so that this is 1."""
    if largest > 0:
        for place in range(count):
            features_CF[place, feature] /= largest


@compiled
def add_near(candidates: Candidates, count: int, own: int, arrays: SourceArrays) -> int:
    """Add what was near the newest items; an older one has less weight. Returns the number of candidates."""
    weight, largest = 1.0, 0.0
    features_CF = candidates.features_CF
    for age in range(min(own, NEAR_EVENTS)):
        item = candidates.ids_C[age]
        if item < len(arrays.popularity_V):
            for at in range(arrays.near_begins_V1[item], arrays.near_begins_V1[item + 1]):
                place, count = add(candidates, count, arrays.near_items_P[at])
                if place >= 0:
                    features_CF[place, NEAR_SHARE] += weight * arrays.near_weights_P[at]
                    largest = max(largest, features_CF[place, NEAR_SHARE])
        weight *= NEAR_DECAY
    divide(features_CF, count, NEAR_SHARE, largest)
    return count


@compiled
def add_next_now(candidates: Candidates, count: int, newest: int, live: LiveArrays) -> tuple[int, float]:
    """As `add_next`, by what followed lately."""
    if newest < 0 or newest >= len(live.row_V) or live.row_V[newest] < 0:
        return count, 0.0
    row = live.row_V[newest]
    items_P, weights_P, total = live.next_items_RP[row], live.next_weights_RP[row], live.next_totals_R[row]
    if total <= 0:
        # All of it has faded to nothing.
        return count, 0.0
    for p in range(len(items_P)):
        if items_P[p] < 0:
            break
        rank = 0
        for other in range(len(items_P)):
            if items_P[other] >= 0 and (
                weights_P[other] > weights_P[p] or (weights_P[other] == weights_P[p] and other < p)
            ):
                rank += 1
        place, count = add(candidates, count, items_P[p])
        if place >= 0:
            candidates.features_CF[place, NEXT_SHARE_NOW] = np.sqrt(weights_P[p] / total)
            candidates.features_CF[place, NEXT_COUNT_NOW] = np.log(1 + weights_P[p] * live.scale)
            candidates.features_CF[place, NEXT_RANK_NOW] = rank_value(rank, len(items_P))
    return count, total * live.scale


@compiled
def add_near_now(candidates: Candidates, count: int, own: int, live: LiveArrays) -> int:
    """As `add_near`, by what was near lately."""
    weight, largest = 1.0, 0.0
    features_CF = candidates.features_CF
    for age in range(min(own, NEAR_EVENTS)):
        item = candidates.ids_C[age]
        if item < len(live.row_V) and live.row_V[item] >= 0:
            row = live.row_V[item]
            for p in range(live.near_items_RP.shape[1]):
                if live.near_items_RP[row, p] < 0:
                    break
                place, count = add(candidates, count, live.near_items_RP[row, p])
                if place >= 0:
                    features_CF[place, NEAR_SHARE_NOW] += weight * live.near_weights_RP[row, p]
                    largest = max(largest, features_CF[place, NEAR_SHARE_NOW])
        weight *= NEAR_DECAY
    divide(features_CF, count, NEAR_SHARE_NOW, largest)
    return count


@compiled
def add_now(candidates: Candidates, count: int, own: int, newest: int, live: LiveArrays) -> tuple[int, float]:
    """Add what was learned lately. Returns the number of candidates, and how often `newest` went on."""
    count, total = add_next_now(candidates, count, newest, live)
    for rank in range(len(live.popular_N)):
        place, count = add(candidates, count, live.popular_N[rank])
        if place >= 0:
            candidates.features_CF[place, POPULAR_RANK_NOW] = rank_value(rank, len(live.popular_N))
    return add_near_now(candidates, count, own, live), total


@compiled
def gather(
    recent_BR: Ints,
    network_ids_BN: Longs,
    network_scores_BN: Floats,
    arrays: SourceArrays,
    live: LiveArrays,
    neighbours: int,
    sampled: int,
) -> tuple[Longs, Floats, Longs]:
    """The candidates of each session, B×C, padded with -1, their features, B×C×F, and how many there are.

    `recent_BR` are the sessions' newest items, newest first, padded with -1. The network's items are
    best first. Features beyond a session's candidates are undefined. There are only the
    `STANDING_FEATURES` first features where no source follows the events.
    """
    follows = len(live.row_V) > 0
    features = len(FEATURES) if follows else STANDING_FEATURES
    ids_BC = np.full((len(recent_BR), CANDIDATES), -1, np.int64)
    features_BCF = np.empty((len(recent_BR), CANDIDATES, features), np.float32)
    count_B = np.zeros(len(recent_BR), np.int64)
    keys_T, places_T = np.empty(CANDIDATE_SLOTS, np.int64), np.empty(CANDIDATE_SLOTS, np.int32)
    sessions, items = empty_sums(SESSION_SLOTS), empty_sums(ITEM_SLOTS)
    for b in range(len(recent_BR)):
        keys_T[:] = -1
        candidates = Candidates(ids_BC[b], features_BCF[b], keys_T, places_T)
        own, length = add_own(candidates, recent_BR[b], arrays)
        count, gap = add_network(candidates, own, network_ids_BN[b], network_scores_BN[b])
        total_now = 0.0
        if follows:
            # First, so that they find room.
            count, total_now = add_now(candidates, count, own, recent_BR[b, 0], live)
        count, total = add_next(candidates, count, recent_BR[b, 0], arrays)
        count, similarity = add_neighbours(
            candidates, count, own, arrays, live.sessions, neighbours, sampled, sessions, items
        )
        count = add_near(candidates, count, own, arrays)
        for item in arrays.popular_N:
            place, count = add(candidates, count, item)
        features_CF = candidates.features_CF
        for place in range(count):
            item = min(candidates.ids_C[place], len(arrays.popularity_V))
            if item < len(arrays.popularity_V):
                features_CF[place, POPULARITY] = arrays.popularity_V[item]
                features_CF[place, FRESHNESS] = arrays.freshness_V[item]
            features_CF[place, SESSION_LENGTH] = np.log(1.0 + length)
            features_CF[place, NETWORK_GAP] = gap / 4
            features_CF[place, NEIGHBOURS_SIMILARITY] = np.log(1 + similarity)
            features_CF[place, NEXT_TOTAL] = np.log(1 + total) / 4
            if follows:
                features_CF[place, NEXT_TOTAL_NOW] = np.log(1 + total_now) / 4
                if candidates.ids_C[place] < len(live.popular_V):
                    features_CF[place, POPULAR_NOW] = live.popular_V[candidates.ids_C[place]] / 4
        count_B[b] = count
    return ids_BC, features_BCF, count_B
