from contextlib import closing
from pathlib import Path

import pytest

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.evaluation.source_ranks import evaluate_sources
from model.networks.fused.fused_list import FusedList
from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.quality.prequential import Prequential
from stream.sessions.partition import OpenPartition
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.load_shedding import POPULAR
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot
from stream.wave.stepped_wave import SteppedWave
from stream.wave.waves import Arrival, WaveCutter
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers

LOG = markov_shoppers(sessions=120, items=60, seed=1)


@pytest.fixture
def live(tmp_path: Path) -> ModelSlot:
    settings = Settings(registry_dir=tmp_path / "registry", wave_size=8, deterministic=True)
    train_small(LOG, Registry(settings.registry_dir), network="fused")
    live = ModelSlot(settings)
    live.offer(live.prepare())
    return live


def prequential_of(live: ModelSlot, folder: Path, *, level: int = 0) -> Prequential:
    """The log stepped in waves, as a worker does."""
    prequential = Prequential(1000, 0.99)
    with closing(SessionStore(folder)) as store:
        processor = Processor(live, recent_items=50)
        processor.partitions[0] = partition = OpenPartition(0, store)
        cutter = WaveCutter(8)
        handed: list[SteppedWave] = []
        for offset, event in enumerate(events_of(LOG.frame)):
            cutter.add(Arrival(0, offset, event, NO_WATERMARK, 0))
            partition.pending.add(offset, NO_WATERMARK, NO_WATERMARK)
            while len(cutter) and (offset % 8 == 7 or offset == len(LOG.frame) - 1):
                wave = cutter.cut()
                assert wave is not None
                wave.level = level
                processor.process(wave, handed.append)
                stepped = handed[-1]
                for written, batch, applied in stepped.writes.values():
                    written.write(batch, applied)
                processor.written = stepped.number
                prequential.add(stepped.observed)
    return prequential


def test_the_stream_counts_for_each_source_what_the_offline_evaluation_does(
    live: ModelSlot, tmp_path: Path
) -> None:
    serving = live.current
    network = serving.stepper.network
    assert isinstance(network, FusedList)
    sessions = Sessions.from_frame(LOG.frame, serving.vocabulary, SessionRule(serving.rule.gap_s))
    offline = evaluate_sources(network, sessions)
    found = prequential_of(live, tmp_path / "store").by_source()["new"][serving.version]
    assert found.keys() - {"list"} == offline.keys()
    for name, evaluation in offline.items():
        assert found[name].events == evaluation.targets == sessions.pairs
        assert found[name].recall == pytest.approx(evaluation.recall, abs=0.005), name
        assert found[name].mrr == pytest.approx(evaluation.mrr, abs=0.005), name
    assert found["list"].recall > 0


def test_a_list_of_pop_is_no_list_of_any_source(live: ModelSlot, tmp_path: Path) -> None:
    prequential = prequential_of(live, tmp_path / "store", level=POPULAR)
    assert not prequential.by_source()["new"]
    assert prequential.sums().windows["total"]["all"]["all"].any()
