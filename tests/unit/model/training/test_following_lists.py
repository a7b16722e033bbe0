import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.freshness.log_refresher import LogRefresher
from model.freshness.log_walk import ListsToMake, LogWalk
from model.networks.by_name import build_fused
from model.networks.fused.fused_list import FusedList
from model.networks.fused.source_arrays import NEXT_COUNT_NOW, POPULAR_NOW, POPULAR_RANK_NOW
from model.training.following_lists import EVERY_MS, can_follow, following_lists
from model.training.train import train

ITEMS = 60
HOUR_MS = 3_600_000
CONFIG = ModelConfig(network="fused", hidden_size=8, epochs=1, negatives=16, batch_size=16)


def sessions_at(log: list[tuple[int, list[int]]]) -> Sessions:
    """Sessions by their first event's time in ms; an event each second."""
    log = sorted(log)
    items = np.array([item for _, session in log for item in session])
    offsets = np.r_[0, np.cumsum([len(session) for _, session in log])]
    times_ms = np.concatenate([begin + 1_000 * np.arange(len(session)) for begin, session in log])
    return Sessions(offsets, items, times_ms, np.array([f"s{n}" for n in range(len(log))], object))


def vocabulary_of(sessions: Sessions) -> Vocabulary:
    return Vocabulary([f"i{n}" for n in range(ITEMS)], np.bincount(sessions.items, minlength=ITEMS))


def popular_by_the_hour(rng: np.random.Generator, hours: range, sessions: int = 60) -> Sessions:
    """Each hour has four items of its own in half of the events; nothing else tells the next item."""
    log = []
    for hour in hours:
        popular = np.random.default_rng(hour).choice(ITEMS, 4, replace=False)
        for _ in range(sessions):
            begin_ms = hour * HOUR_MS + int(rng.integers(HOUR_MS - 10_000))
            chosen = np.where(rng.random(4) < 0.7, rng.choice(popular, 4), rng.integers(ITEMS, size=4))
            log.append((begin_ms, chosen.tolist()))
    return sessions_at(log)


def test_no_list_knows_of_an_event_at_its_time_or_later(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    sessions = popular_by_the_hour(rng, range(6))
    fused = build_fused(CONFIG, vocabulary_of(sessions))
    refreshed_ms: list[int] = []
    ages_ms: list[int] = []
    real_refresh, real_step = LogRefresher.refresh, LogWalk.step

    def refresh(self: LogRefresher, now_ms: int) -> None:
        refreshed_ms.append(now_ms)
        real_refresh(self, now_ms)

    def step(self: LogWalk, rows: np.ndarray) -> ListsToMake:
        ages_ms.extend((sessions.times_ms[rows] - refreshed_ms[-1]).tolist())
        return real_step(self, rows)

    monkeypatch.setattr(LogRefresher, "refresh", refresh)
    monkeypatch.setattr(LogWalk, "step", step)
    lists = sum(len(target_B) for _, target_B in following_lists(fused, sessions, 200, 10_000))
    assert lists == sessions.between(200, len(sessions)).pairs
    assert 0 <= min(ages_ms) <= max(ages_ms) < EVERY_MS
    assert not fused.follows


def test_an_item_that_comes_for_the_first_time_is_not_known_before() -> None:
    """A planted leak: the second item of each session is nowhere else, so nothing can have told of it."""
    rng = np.random.default_rng(4)
    log = [(n * 20_000, [int(rng.integers(10)), 10 + n, int(rng.integers(10))]) for n in range(50)]
    sessions = sessions_at(log)
    fused = build_fused(CONFIG, vocabulary_of(sessions))
    popular = {"once": 0, "often": 0}
    listed = dict.fromkeys(popular, 0)
    for (ids_BC, features_BCF, count_B), target_B in following_lists(fused, sessions, 5, 10_000):
        for b, target in enumerate(target_B.tolist()):
            kind = "often" if target < 10 else "once"
            for place in np.flatnonzero(ids_BC[b, : count_B[b]] == target):
                listed[kind] += 1
                now = [POPULAR_NOW, POPULAR_RANK_NOW, NEXT_COUNT_NOW]
                popular[kind] += bool((features_BCF[b, place, now] > 0).any())
    # Not even among the candidates, as in a worker, which knows no item before its first event.
    assert popular["once"] == listed["once"] == 0
    assert popular["often"] > 30


def test_an_item_born_since_is_listed_once_two_sessions_had_it() -> None:
    log = [(n * 120_000, [n % 5, (n + 1) % 5]) for n in range(20)]
    # Item 30 comes after item 1 from the tenth session on.
    log += [(n * 120_000 + 60_000, [1, 30]) for n in range(10, 20)]
    sessions = sessions_at(log)
    fused = build_fused(CONFIG, vocabulary_of(sessions))
    places = []
    for (ids_BC, _, count_B), target_B in following_lists(fused, sessions, 10, 10_000):
        places += [
            bool((ids_BC[b, : count_B[b]] == target).any())
            for b, target in enumerate(target_B.tolist())
            if target == 30
        ]
    assert places == [False, False, *[True] * 8]
    # A network that goes on from an earlier one may have learned it before.
    trained_V = np.ones(ITEMS, bool)
    [first, *_] = [
        bool((ids_BC[b, : count_B[b]] == 30).any())
        for (ids_BC, _, count_B), target_B in following_lists(fused, sessions, 10, 10_000, trained_V)
        for b, target in enumerate(target_B.tolist())
        if target == 30
    ]
    assert first


def test_where_only_the_popularity_of_the_hour_tells_the_next_item_the_ranker_finds_it() -> None:
    rng = np.random.default_rng(4)
    training, whole = popular_by_the_hour(rng, range(20)), popular_by_the_hour(rng, range(20, 24))
    fused = train(training, vocabulary_of(training), CONFIG).network
    assert isinstance(fused, FusedList)
    # The later hours, as a worker with `follow` sees them, and as one without.
    hits: dict[str, list[bool]] = {"following": [], "standing": [], "popular now": []}
    with torch.inference_mode():
        for proposals, target_B in following_lists(fused, whole, 60, 10_000):
            ids_BC, scores_BC = fused.rank(proposals, torch.device("cpu"))
            best = ids_BC.gather(1, scores_BC.topk(5).indices)
            hits["following"] += (best == target_B[:, None]).any(1).tolist()
            live = fused.lists_by_source(proposals, None, 5)[:, -1]
            hits["popular now"] += (live == target_B.numpy()[:, None]).any(1).tolist()
        state = fused.initial_state(len(whole))
        for step in range(3):
            rows = whole.offsets[:-1] + step
            scores, state = fused.step({"item": torch.from_numpy(whole.items[rows])}, state)
            best = scores[0].gather(1, scores[1].topk(5).indices)
            hits["standing"] += (best == torch.from_numpy(whole.items[rows + 1])[:, None]).any(1).tolist()
    recall = {name: float(np.mean(found)) for name, found in hits.items()}
    assert recall["following"] > recall["standing"] + 0.2
    assert recall["following"] > recall["popular now"] - 0.05


def test_a_network_that_reads_more_than_items_does_not_follow_in_training() -> None:
    sessions = popular_by_the_hour(np.random.default_rng(1), range(2))
    config = CONFIG.model_copy(update={"proposing_network": "feature-lstm"})
    assert not can_follow(build_fused(config, vocabulary_of(sessions)))
    assert can_follow(build_fused(CONFIG, vocabulary_of(sessions)))
