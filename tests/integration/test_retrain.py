import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from replay.sending.replay import replay_frames
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archiver import Archiver
from stream.kafka.topic_id import topic_id
from stream.retraining.options import RetrainOptions, WindowOptions
from stream.retraining.retrain import retrain
from tests.harness.announced import announced
from tests.harness.retraining import (
    SMALL,
    ended,
    first_champion,
    left_over,
    reports,
    shuffled,
    start,
    two_parts,
    versions,
)
from tests.harness.serving import MakeSettings

pytestmark = pytest.mark.kafka


def test_a_retraining_goes_on_from_the_champion_with_what_came_since(make_settings: MakeSettings) -> None:
    settings = make_settings()
    earlier, later = two_parts()
    first = first_champion(settings, earlier)
    replay_frames(settings, [later])
    status, out, log = ended(start(settings))
    assert status == 0, log
    second = Registry(settings.registry_dir).champion()
    assert second != first
    assert announced(settings) == [first, second]
    row = versions(settings)[-1]
    report = reports(settings)[-1]
    assert row["version"] == second == report["version"]
    assert f"{second} is the champion" in out
    assert row["data"]["champion"] == first
    assert row["data"]["events"] == len(later)
    assert row["data"]["last_event_time_ms"] == int(later["event_time_ms"].max())
    assert report["first_event_time_ms"] == int(later["event_time_ms"].min())
    assert report["new_items"] == 5
    vocabulary = Registry(settings.registry_dir).load().vocabulary
    assert vocabulary.item_ids[:100].tolist() == (
        Registry(settings.registry_dir).load(first).vocabulary.item_ids.tolist()
    )
    assert {f"new{n}" for n in range(5)} <= set(vocabulary.item_ids[100:])
    leads = {s["name"].split()[0]: s["recall_lead"] for s in report["decision"]["standings"]}
    assert leads["champion"]["low"] > 0
    assert leads["POP"]["low"] > 0
    assert {"read", "split", "train", "evaluate", "gate", "finish", "save"} <= report["seconds"].keys()
    assert report["peak_memory_bytes"] > 50 << 20
    folder = settings.registry_dir / "reports" / report["run"]
    assert (folder / "standings.png").read_bytes().startswith(b"\x89PNG")
    told = (folder / "report.md").read_text()
    assert f"# Retraining {report['run']}: accepted" in told
    assert f"| champion before | {first} |" in told
    # Nothing came since: a third has nothing to learn from, and says so.
    status, out, _ = ended(start(settings))
    assert status == 3
    assert "there are 0 events since the champion's last: nothing to learn from" in out
    assert Registry(settings.registry_dir).champion() == second
    assert left_over(settings) == []


def test_the_gate_refuses_a_model_trained_on_shuffled_sessions_and_takes_a_better_one(
    make_settings: MakeSettings,
) -> None:
    earlier, later = two_parts()
    newest = int(len(later) * 0.88)
    spoiled = pd.concat([shuffled(later[:newest]), later[newest:]])
    settings = make_settings()
    first = first_champion(settings, earlier)
    replay_frames(settings, [spoiled])
    status, out, log = ended(start(settings, "--json"))
    assert status == 3, log
    report = json.loads(out)
    assert report["outcome"] == "refused"
    assert not report["promoted"]
    assert any("it is worse" in r for r in report["decision"]["reasons"])
    assert "Refused because" in (Path(report["folder"]) / "report.md").read_text()
    assert Registry(settings.registry_dir).champion() == first
    assert [row["version"] for row in versions(settings)] == [first] == announced(settings)
    # The other way round: a first model of shuffled sessions is refused, and as a champion it has to go.
    settings = make_settings(registry_dir=settings.registry_dir.parent / "other")
    replay_frames(settings, [shuffled(earlier)])
    status, out, _ = ended(start(settings))
    assert status == 3
    assert "where POP has" in out
    forced = settings.model_copy(update={"gate_margin": 1.0})
    spoiled_first = retrain(forced, RetrainOptions(changes=SMALL)).version
    replay_frames(settings, [later])
    report = json.loads(ended(start(settings, "--json"))[1])
    assert report["outcome"] == "accepted"
    assert report["champion"] == spoiled_first
    assert Registry(settings.registry_dir).champion() == report["version"] != spoiled_first


def test_a_window_may_be_named_by_time_offsets_or_from_an_archive(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    earlier, later = two_parts()
    replay_frames(settings, [earlier, later])
    cut_ms = int(later["event_time_ms"].min())
    archive = tmp_path / "archive"
    Archiver(settings, ArchiveFolder(archive), rotate_events=5_000, rotate_s=60).run(
        threading.Event(), until_end=True
    )
    windows = [
        WindowOptions(until_ms=cut_ms),
        WindowOptions(offsets={0: (0, len(earlier))}),
        WindowOptions(until_ms=cut_ms, archive=archive),
    ]
    first, *others = [retrain(settings, RetrainOptions(window, SMALL, promote=False)) for window in windows]
    assert first.events == len(earlier)
    assert first.outcome == "accepted"
    assert not first.promoted
    for report in others:
        assert report.decision is not None
        assert first.decision is not None
        # Equal but for the time that a step took.
        assert report.decision.standings[0].recall == first.decision.standings[0].recall
        assert report.offsets == {0: (0, len(earlier))} or report.events == len(earlier)
    newest = retrain(settings, RetrainOptions(WindowOptions(newest_events=3_000), SMALL, promote=False))
    assert newest.events == 3_000
    assert newest.last_event_time_ms == int(later["event_time_ms"].max())
    assert announced(settings) == []
    assert Registry(settings.registry_dir).champion() is None


def test_a_champion_of_meanwhile_stays_and_a_stamp_ahead_of_the_wall_is_not_believed(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings()
    earlier, later = two_parts()
    first = first_champion(settings, earlier)
    ahead = later.iloc[-1:].assign(session_id="ahead", event_time_ms=int(time.time() * 1000) + 1_800_000)
    replay_frames(settings, [later, ahead])
    registry = Registry(settings.registry_dir)
    model = registry.load(first)
    other = registry.save(
        TrainedModel(model.network, model.config, model.vocabulary), scores={}, data={}
    ).version
    told: list[str] = []

    @contextmanager
    def rolled_back_meanwhile(name: str) -> Iterator[Callable[[float, float, str], None]]:
        if name == "save":
            registry.promote(other)
        yield lambda done, total, text: None

    report = retrain(settings, RetrainOptions(), bar=rolled_back_meanwhile, notify=told.append)
    assert report.version is not None
    assert not report.promoted
    assert registry.champion() == other
    assert announced(settings) == [first]
    assert any(f"not promoted: {other} serves now" in text for text in told)
    data = registry.load(report.version).manifest["data"]
    assert data["topic_id"] == topic_id(settings, settings.events_topic)
    last_ms = data["last_event_time_ms"]
    assert int(later["event_time_ms"].max()) < last_ms <= time.time() * 1000
