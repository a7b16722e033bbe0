from dataclasses import replace
from pathlib import Path

import pytest

from model.data.learned_events import LearnedEvents
from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.sessions.partition import OpenPartition
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.load_shedding import NEWEST_ONLY
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.wave.shadow import CHALLENGER, Shadow, ShadowTrial
from stream.wave.stepped_wave import RecommendedList, SteppedWave
from stream.wave.waves import Arrival, WaveCutter
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers

LOG = markov_shoppers(sessions=120, items=60, seed=1)
# The second version in service, or the first with the second in its shadow.
Versions = tuple[ModelSlot, ServingModel, ServingModel]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    settings = Settings(registry_dir=tmp_path_factory.mktemp("registry"), wave_size=8, deterministic=True)
    registry = Registry(settings.registry_dir)
    live = ModelSlot(settings)
    first = train_small(LOG, registry)
    # Another mask: whatever the champion leaves out is no matter to the shadow.
    second = train_small(LOG, registry, seed=5, epochs=1, exclude_session_items=True)
    return live, live.warm(first), live.warm(second)


def serve(
    live: ModelSlot, serving: ServingModel, folder: Path, shadow: Shadow, level: int = 0
) -> tuple[dict[int, RecommendedList], list[int | None]]:
    """Step the log with `serving`; → lists by offset, and the ranks that its events had."""
    live.offer(serving)
    lists: dict[int, RecommendedList] = {}
    ranks: list[int | None] = []

    def keep(stepped: SteppedWave) -> None:
        lists.update({shown.arrival.offset: shown for shown in stepped.lists})
        ranks.extend(event.champion_rank or None for event in stepped.observed if event.position)

    store = SessionStore(folder)
    processor = Processor(live, recent_items=50, shadow=shadow)
    processor.partitions[0] = partition = OpenPartition(0, store)
    cutter, watermark = WaveCutter(8), NO_WATERMARK
    for offset, event in enumerate(events_of(LOG.frame)):
        arrival = Arrival(0, offset, event, watermark, 0)
        watermark = watermark.after(event.session_id, event.event_time_ms)
        cutter.add(arrival)
        partition.pending.add(offset, arrival.watermark, watermark)
        while len(cutter) >= 8 or (len(cutter) and offset == len(LOG.frame) - 1):
            wave = cutter.cut()
            assert wave is not None
            wave.level = level if offset % 3 == 0 else 0
            processor.process(wave, keep)
    shadow.step_waiting()
    store.close()
    return lists, ranks


@pytest.mark.parametrize("kept_sessions", [1000, 3, 1])
def test_the_shadow_is_as_good_as_it_would_be_in_service_however_few_sessions_it_keeps(
    versions: Versions, tmp_path: Path, kept_sessions: int
) -> None:
    live, first, second = versions
    _, alone = serve(live, second, tmp_path / "alone", Shadow())
    shadow = Shadow(kept_sessions)
    shadow.trial = trial = ShadowTrial(second, first.version, 1.0, CHALLENGER)
    _, champion = serve(live, first, tmp_path / "both", shadow)
    assert len(trial.states) == min(kept_sessions, 120)
    assert trial.recall.events == len(champion) == len(alone)
    for ranks, recall, mrr in zip((champion, alone), trial.recall.means, trial.mrr.means, strict=True):
        found = [rank for rank in ranks if rank is not None]
        assert recall == pytest.approx(len(found) / len(ranks))
        assert mrr == pytest.approx(sum(1 / rank for rank in found) / len(ranks))
    assert trial.recall.means[0] != trial.recall.means[1]
    if kept_sessions == 1000:
        assert trial.recall.sessions == 120


def test_nothing_that_is_published_depends_on_the_shadow(versions: Versions, tmp_path: Path) -> None:
    live, first, second = versions
    without, _ = serve(live, first, tmp_path / "without", Shadow())
    shadow = Shadow()
    shadow.trial = ShadowTrial(second, first.version, 1.0, CHALLENGER)
    beside, _ = serve(live, first, tmp_path / "beside", shadow)
    assert beside.keys() == without.keys()
    for offset, shown in without.items():
        assert beside[offset].items == shown.items
        assert beside[offset].scores.tobytes() == shown.scores.tobytes()
        assert beside[offset].model_version == first.version


def test_a_share_of_the_sessions_is_shadowed_and_always_the_same(versions: Versions, tmp_path: Path) -> None:
    live, first, second = versions
    seen: list[set[str]] = []
    for name, share in (("some", 0.25), ("again", 0.25), ("more", 0.5)):
        shadow = Shadow()
        shadow.trial = trial = ShadowTrial(second, first.version, share, CHALLENGER)
        serve(live, first, tmp_path / name, shadow)
        seen.append(set(trial.states))
    assert 15 <= len(seen[0]) <= 45
    assert seen[0] == seen[1] < seen[2]


def test_what_is_not_scored_while_the_worker_is_behind_is_no_pair(versions: Versions, tmp_path: Path) -> None:
    live, first, _ = versions
    shadow = Shadow()
    # The same weights: wherever it is held against the champion, it has the champion's rank.
    shadow.trial = trial = ShadowTrial(first, "other", 1.0, CHALLENGER)
    serve(live, first, tmp_path / "of-another", shadow, NEWEST_ONLY)
    assert trial.recall.events == 0
    shadow.trial = trial = ShadowTrial(first, first.version, 1.0, CHALLENGER)
    _, ranks = serve(live, first, tmp_path / "behind", shadow, NEWEST_ONLY)
    assert 0 < trial.recall.events < len(ranks)
    assert trial.recall.interval().mean == 0
    assert trial.recall.interval().high == 0


def test_events_that_either_version_has_learned_from_decide_no_trial(
    versions: Versions, tmp_path: Path
) -> None:
    """Else a former champion is rolled back to, or not, by what one of the two knows by heart."""
    live, first, second = versions
    times_ms = LOG.frame["event_time_ms"]
    learned = LearnedEvents(until_ms=int(times_ms.median()))
    counts = []
    pairs = [(first, second)]
    pairs += [(replace(first, learned=learned), second), (first, replace(second, learned=learned))]
    for number, (champion, shadowed) in enumerate(pairs):
        shadow = Shadow()
        shadow.trial = ShadowTrial(shadowed, champion.version, 1.0, CHALLENGER)
        serve(live, champion, tmp_path / str(number), shadow)
        shadow.step_waiting()
        counts.append(shadow.trial.report()["events"])
    assert 0 < counts[1] == counts[2] < 0.7 * counts[0]


def test_events_that_the_version_has_learned_from_are_told_apart(versions: Versions, tmp_path: Path) -> None:
    live, first, _ = versions
    until_ms = int(LOG.frame["event_time_ms"].median())
    live.offer(replace(first, learned=LearnedEvents(until_ms=until_ms)))
    assert live.has_learned(first.version, 0, 0, until_ms)
    assert not live.has_learned(first.version, 0, 0, until_ms + 1)
    # After a swap to an earlier version, lists of the one before are still scored.
    live.offer(replace(first, version="another", learned=LearnedEvents(until_ms=0)))
    assert live.has_learned(first.version, 0, 0, until_ms)
    assert not live.has_learned("another", 0, 0, until_ms)
    live.offer(first)
