import json
import re
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model.errors import NextclickError
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.replay import replay_frames
from stream.quality.cells import POSITIONS
from stream.quality.collect import collect
from stream.quality.sums import WINDOWS
from stream.quality.windows import BUCKET_MS
from tests.conftest import train_small
from tests.faults.test_models import announce
from tests.faults.test_rebalance import of_worker, wait_for_shares
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import (
    MakeSettings,
    all_committed,
    all_lists,
    events_by_id,
    with_unknown_items,
    worker,
)
from tests.integration.test_command_line import nextclick

pytestmark = pytest.mark.kafka
HOUR_MS = 3_600_000


@dataclass
class Prediction:
    """One event with a list before it, as the topics tell it: 1/rank of each system, 0 for a miss."""

    time_ms: int
    version: str
    position: str
    item_age: str
    reciprocal_ranks: dict[str, float]


def rank(item_id: str, items: list[str]) -> float:
    return 1 / (items.index(item_id) + 1) if item_id in items else 0.0


class LastHour:
    """POP of the last hour, counted anew for every event."""

    def __init__(self) -> None:
        self.clicks: dict[int, Counter[str]] = {}
        self.newest = 0

    def expected(self, item_id: str, seen: list[str]) -> float:
        """1/rank on average over the orders of equals."""
        counts: Counter[str] = Counter()
        for number in range(self.newest - 11, self.newest + 1):
            counts.update(self.clicks.get(number, {}))
        others = [count for other, count in counts.items() if other not in seen]
        above = sum(count > counts[item_id] for count in others)
        tied = sum(count == counts[item_id] for count in others)
        if not counts[item_id] or item_id in seen:
            return 0.0
        return sum(1 / place for place in range(above + 1, min(20, above + tied) + 1)) / tied

    def learn(self, item_id: str, time_ms: int) -> None:
        number = time_ms // BUCKET_MS
        self.newest = max(self.newest, number)
        self.clicks.setdefault(number, Counter())[item_id] += 1


def predictions(settings: Any, models: dict[str, ModelVersion]) -> Iterator[Prediction]:
    """Every prediction in the topics, in plain words."""
    shown = {r.recommendation.event_id: r for r in all_lists(settings)}
    events = events_by_id(settings)
    popular = {name: model.vocabulary.decode(model.vocabulary.top(100)) for name, model in models.items()}
    before: dict[str, Any] = {}
    items: dict[str, list[str]] = {}
    first_ms: dict[tuple[str, str], int] = {}
    last_hour: defaultdict[str, LastHour] = defaultdict(LastHour)
    for event_id in sorted(events, key=lambda name: tuple(map(int, name.split("-")))):
        event, received = events[event_id], shown[event_id]
        serving, position = received.recommendation.model_version, int(received.headers["position"])
        worker_and_item = event_id.split("-")[0], event.item_id
        if event.item_id not in models[serving].vocabulary.index:
            first_ms.setdefault(worker_and_item, event.event_time_ms)
        age = "trained"
        if worker_and_item in first_ms:
            age = "<1 h" if event.event_time_ms - first_ms[worker_and_item] < HOUR_MS else "<1 day"
        if position == 1:
            items[event.session_id] = []
        else:
            last = before[event.session_id]
            behind = int(last.headers["position"])
            seen = items[event.session_id]
            yield Prediction(
                event.event_time_ms,
                last.recommendation.model_version,
                POSITIONS[sum(behind > most for most in (1, 2, 5, 10))],
                age,
                {
                    "champion": rank(event.item_id, last.recommendation.items),
                    "pop": rank(event.item_id, [i for i in popular[serving] if i not in seen][:20]),
                    "window_pop": last_hour[worker_and_item[0]].expected(event.item_id, seen),
                },
            )
        last_hour[worker_and_item[0]].learn(event.item_id, event.event_time_ms)
        items[event.session_id].append(event.item_id)
        before[event.session_id] = received


def assert_equal(found: dict[str, Any], expected: list[Prediction]) -> None:
    """Every slice of a window, and no other, has the events, hits and reciprocal ranks of the predictions."""
    kinds: dict[str, Callable[[Prediction], str]] = {
        "all": lambda p: "all",
        "version": lambda p: p.version,
        "position": lambda p: p.position,
        "item_age": lambda p: p.item_age,
    }
    for kind, value_of in kinds.items():
        counts = Counter(value_of(p) for p in expected)
        assert {value: s["champion"]["events"] for value, s in found[kind].items()} == counts
        for value, systems in found[kind].items():
            for system in ("champion", "pop"):
                ranks = [p.reciprocal_ranks[system] for p in expected if value_of(p) == value]
                assert systems[system]["hits"] == sum(r > 0 for r in ranks)
                assert systems[system]["reciprocal_ranks"] == pytest.approx(sum(ranks))
                assert systems[system]["recall_at_20"] == pytest.approx(
                    sum(r > 0 for r in ranks) / len(ranks)
                )


def get(process: WorkerProcess, path: str) -> str:
    with urllib.request.urlopen(process.address + path, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def test_the_quality_of_two_workers_together_is_what_the_topics_say(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    # Small waves, one at a time: they keep nearly to the order of the log, as last-hour POP needs.
    settings = make_settings(partitions=2, wave_size=4, step_threads=1)
    log = markov_shoppers(sessions=2_000, items=120, seed=7)
    registry = Registry(settings.registry_dir)
    second = train_small(
        markov_shoppers(sessions=300, items=100, seed=8), registry, exclude_session_items=True
    )
    first = train_small(log, registry, exclude_session_items=True)
    frame, half = with_unknown_items(log.frame), len(log.frame) // 2
    # Ages begin with the first event whose time is sure, which a partition's very first is not.
    frame.loc[:50, "item_id"] = log.frame["item_id"]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(worker(of_worker(settings, name, tmp_path), tmp_path)) for name in ("a", "b")
        ]
        wait_for_shares(workers, settings.partitions)
        replay_frames(settings, [frame.iloc[:half]])
        workers[0].wait_until(all_committed(settings), "the first half")
        announce(settings, json.dumps({"version": second.version}).encode())
        for process in workers:
            process.wait_until(lambda s: s["model"] == second.version, "the swap")
        replay_frames(settings, [frame.iloc[half:]])
        workers[0].wait_until(all_committed(settings), "the rest")
        for process in workers:
            process.wait_until(
                lambda s: s["accounting"]["holds"] and not s["accounting"]["in_flight"], "rest"
            )
        addresses = [part for process in workers for part in ("--worker", process.address)]
        plot = tmp_path / "quality.png"
        found = json.loads(nextclick(settings, "quality", *addresses, "--json", "--plot", str(plot)))
        table = nextclick(settings, "quality", *addresses, "--window", "1h")
        metrics = [get(process, "/metrics") for process in workers]
        with pytest.raises(urllib.error.HTTPError, match="400"):
            get(workers[0], "/api/quality?until_ms=yesterday")
    expected = list(predictions(settings, {model.version: model for model in (first, second)}))
    assert len(expected) > 5_000
    assert {p.version for p in expected} == {first.version, second.version}
    until_ms = found["until_ms"]
    assert found["outside"] == found["waiting"] == 0
    assert set(found["windows"]) == set(WINDOWS)
    assert_equal(found["windows"]["total"], expected)
    assert_equal(found["windows"]["newest"], expected)
    assert_equal(found["windows"]["24h"], expected)
    hour = [p for p in expected if until_ms - HOUR_MS <= p.time_ms < until_ms]
    assert 1_000 < len(hour) < len(expected)
    assert_equal(found["windows"]["1h"], hour)
    overall = found["windows"]["total"]["all"]["all"]
    last_hour = sum(p.reciprocal_ranks["window_pop"] for p in expected)
    assert overall["window_pop"]["reciprocal_ranks"] == pytest.approx(last_hour, rel=0.01)
    assert last_hour > 1.2 * overall["pop"]["reciprocal_ranks"]
    low, high = overall["champion"]["recall_at_20_interval"]
    assert low < overall["champion"]["recall_at_20"] < high
    assert high - low < 0.1
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert f"{overall['champion']['recall_at_20']:.4f}" in table
    assert second.version in table
    scored = re.compile(r'^nextclick_prequential_events_total\{system="champion"\} (\S+)$', re.M)
    windowed = re.compile(
        r'^nextclick_quality_hits\{slice="version",system="pop",value="(\S+)",window="1h"\} (\S+)$', re.M
    )
    assert sum(float(scored.findall(text)[0]) for text in metrics) == len(expected)
    hits: Counter[str] = Counter()
    for text in metrics:
        hits.update({version: round(float(count)) for version, count in windowed.findall(text)})
    by_version = found["windows"]["1h"]["version"]
    # Of which each counts its own last hour, so that these may reach back a little farther.
    assert hits.keys() == by_version.keys()
    assert sum(hits.values()) >= sum(s["pop"]["hits"] for s in by_version.values())


def test_a_worker_that_does_not_answer_is_named(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings()
    train_small(shoppers, Registry(settings.registry_dir))
    with worker(settings, tmp_path) as process:
        # Nothing is scored yet, and that is what it says.
        assert "since the workers' start" in nextclick(settings, "quality")
        assert collect([process.address]).event_time_ms == 0
        with pytest.raises(NextclickError) as absent:
            collect([process.address, "http://127.0.0.1:9"])
        assert "http://127.0.0.1:9 does not answer" in absent.value.what
        with pytest.raises(NextclickError) as other:
            collect([f"{process.address}/api/status?"])
        assert "is not a worker's quality" in other.value.what
