"""A version keeps what it was made for: the kinds of events, from one retraining to the next."""

from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from model.registry.registry import Registry
from replay.commands.options import event_filter
from stream.event_log.window import EventWindow
from stream.retraining.learned_data import learned_data
from stream.retraining.options import RetrainOptions
from stream.retraining.retrain import retrain
from stream.settings import Settings
from tests.harness.markov_shoppers import markov_shoppers

TINY = {"hidden_size": 8, "negatives": 32, "epochs": 1}


def log_of(start_ms: int) -> pd.DataFrame:
    """Purchases of one half of the items, each after a view of an item of the other half."""
    frame = markov_shoppers(sessions=250, items=20, seed=4, start_ms=start_ms).frame
    views = frame.assign(item_id="seen-" + frame["item_id"], kind="view")
    views["event_time_ms"] -= 1
    both = pd.concat([views, frame.assign(kind="purchase")]).sort_values("event_time_ms", kind="stable")
    return both.reset_index(drop=True).assign(partition=0, offset=range(len(both)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Retrains on a frame without a broker; returns the manifest's data, its items, and what was said."""
    settings = Settings(registry_dir=tmp_path, gate_min_sessions=1, gate_margin=1.0)

    def make(frame: pd.DataFrame, *kinds: str) -> tuple[dict[str, Any], set[str], str]:
        window = EventWindow(frame, {0: (0, len(frame))}, Counter())
        monkeypatch.setattr("stream.retraining.retrain.read_window", lambda *given, **named: window)
        said: list[str] = []
        choose = partial(event_filter, list(kinds) or None, None)
        options = RetrainOptions(changes=TINY, choose=choose, announce=False)
        report = retrain(settings, options, notify=said.append)
        assert report.version is not None, report
        version = Registry(tmp_path).load(report.version)
        return version.manifest["data"], set(version.vocabulary.item_ids), "\n".join(said)

    return make


def test_a_champion_of_purchases_is_retrained_on_purchases(run: Any) -> None:
    first, items, _ = run(log_of(1_700_000_000_000), "purchase")
    assert first["filter"] == {"kinds": ["purchase"]}
    assert items
    assert not {item for item in items if item.startswith("seen-")}
    later = log_of(1_700_100_000_000)
    second, items, said = run(later)
    assert second["filter"] == first["filter"]
    assert second["events"] == (later["kind"] == "purchase").sum()
    assert not {item for item in items if item.startswith("seen-")}
    assert f"learns from events of kind purchase, as its manifest will record: {len(later) // 2:,}" in said
    third, items, said = run(log_of(1_700_200_000_000), "all")
    assert third["filter"] == {}
    assert {item for item in items if item.startswith("seen-")}
    assert "learned from events of kind purchase, this run learns from events of all kinds" in said


def test_an_earlier_manifest_records_no_kinds_and_a_retraining_says_so(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.retraining.learned_data.RECORDED_AS", "not-recorded")
    first, _, _ = run(log_of(1_700_000_000_000), "purchase")
    monkeypatch.undo()
    assert "filter" not in first
    window = log_of(1_700_100_000_000)
    monkeypatch.setattr(
        "stream.retraining.retrain.read_window",
        lambda *given, **named: EventWindow(window, {0: (0, len(window))}, Counter()),
    )
    said: list[str] = []
    settings = Settings(registry_dir=tmp_path, gate_min_sessions=1, gate_margin=1.0)
    report = retrain(settings, RetrainOptions(changes=TINY, announce=False), notify=said.append)
    assert "does not record which kinds of events it was trained on" in "\n".join(said)
    assert "filter" not in Registry(tmp_path).load(report.version).manifest["data"]


def test_the_mapping_of_the_log_of_the_first_version_is_kept() -> None:
    frame = log_of(1_700_000_000_000)
    window = EventWindow(frame, {0: (0, len(frame))}, Counter())
    mapping = {"columns": {"session": "s", "item": "i", "time": "t"}}
    report: Any = SimpleNamespace(run="r", champion="v", source="log")
    assert learned_data(report, window, frame, None, {"mapping": mapping})["mapping"] == mapping
    assert "mapping" not in learned_data(report, window, frame, None, {})
