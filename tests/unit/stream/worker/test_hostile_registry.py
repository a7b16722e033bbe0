"""Registry folders that anybody may have damaged: announced to a model switch that serves a good version."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.registry.registry import REPORTS, Registry
from model.training.trained_model import TrainedModel
from stream.kafka.announcements import encode_announcement
from stream.quality.prequential import Prequential
from stream.settings import Settings
from stream.wave.metrics import FreshnessMetrics
from stream.wave.serving_model import ModelSlot
from stream.wave.shadow import Shadow
from stream.web.models import model_cards
from stream.worker.counters import WorkerCounters
from stream.worker.model_switch import ModelSwitch

FILES = ("weights.safetensors", "config.json", "vocabulary.json", "scores.json", "manifest.json")
POINTERS = ("CHAMPION", "CHAMPIONS")
NETWORKS = ("gru4rec", "pop", "transitions", "fused")
# Others: NEXTCLICK_TEST_REGISTRY_CASES in the environment.
CASES = int(os.environ.get("NEXTCLICK_TEST_REGISTRY_CASES", "1000"))
BATCHES = 4
HUGE_BYTES = 1 << 40
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**400,
    1 << 60,
    0.5,
    float("nan"),
    "",
    "x" * 60_000,
    "\ud800",
    [],
    {},
    [[]],
    {"a": {"b": []}},
)


def saved(registry: Registry, network: str) -> str:
    vocabulary = Vocabulary(["a", "b", "c"], np.array([3, 2, 1]), {"a": "Ä"})
    config = ModelConfig(network=network, hidden_size=4, neighbours=3)
    trained = TrainedModel(build(config, vocabulary), config, vocabulary)
    data = {
        "events": 6,
        "last_event_time_ms": 1_700_000_000_000,
        "offsets": {"0": [1, 2]},
        "source": "events",
    }
    scores = {"evaluation": {"recall": 0.5, "mrr": 0.25}, "pop": {"recall": 0.1, "mrr": 0.1}}
    return registry.save(trained, scores=scores, data=data).version


class Served:
    """A worker's model switch: it serves a good version, and others of each network are beside it."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(registry_dir=folder / "registry", state_dir=folder / "state", device="cpu")
        self.registry = Registry(self.settings.registry_dir)
        self.others = [saved(self.registry, name) for name in NETWORKS]
        self.kept = folder / "kept"
        shutil.copytree(self.registry.root, self.kept)
        self.serving = saved(self.registry, "gru4rec")
        self.registry.promote(self.serving)
        self.registry.promote(self.others[0])
        self.registry.promote(self.serving)
        self.live = ModelSlot(self.settings)
        self.first = self.live.prepare()
        self.counters = WorkerCounters(Prequential(1_000, 0.99))
        self.switch = ModelSwitch(self.settings, self.live, Shadow(), self.counters)

    def restore(self) -> None:
        """Make the versions and the pointers what they were, and serve the good version."""
        for name in (*self.others, *POINTERS):
            path = self.registry.root / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for version in self.others:
            shutil.copytree(self.kept / version, self.registry.root / version)
        self.registry.champions.promote(self.others[0])
        self.registry.champions.promote(self.serving)
        if not self.live.ready or self.live.current is not self.first:
            self.live.offer(self.first)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("served"))


def truncated(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def emptied(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def huge(path: Path, rng: random.Random) -> None:
    """Sparse: it takes no room on the disk."""
    os.truncate(path, HUGE_BYTES)


def flipped(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


def swapped(path: Path, rng: random.Random) -> None:
    others = [other for other in sorted(path.parent.iterdir()) if other.is_file()]
    path.write_bytes(rng.choice(others).read_bytes())


def of_another_version(path: Path, rng: random.Random) -> None:
    registry = path.parent if path.name in POINTERS else path.parent.parent
    others = sorted(registry.glob("*/" + path.name)) or sorted(registry.glob("*/config.json"))
    path.write_bytes(rng.choice(others).read_bytes())


def a_folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice(["/dev/zero", "/etc/passwd", "nowhere", str(path)]))


def removed(path: Path, rng: random.Random) -> None:
    path.unlink()


def deep(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"[" * 100_000)


def strange_value(path: Path, rng: random.Random) -> None:
    """One value of a file of JSON becomes another, or the type of one tensor does."""
    if path.suffix == ".safetensors":
        tensors = safetensors.torch.load(path.read_bytes())
        name = rng.choice(sorted(tensors))
        change: Callable[[torch.Tensor], torch.Tensor] = rng.choice(
            [
                lambda t: t.double() if t.is_floating_point() else t.float(),
                lambda t: t.half(),
                lambda t: t[:0],
                lambda t: torch.full_like(t, 100),
                lambda t: torch.cat([t, t]),
            ]
        )
        tensors[name] = change(tensors[name]).contiguous()
        path.write_bytes(safetensors.torch.save(tensors))
        return
    if path.suffix != ".json":
        path.write_text(str(rng.choice(STRANGE)), errors="replace")
        return
    content = json.loads(path.read_bytes())
    place = content
    while True:
        key = rng.choice(sorted(place)) if isinstance(place, dict) else rng.randrange(len(place))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.4:
            place[key] = rng.choice(STRANGE)
            break
        place = inner
    path.write_text(json.dumps(content))


DAMAGES = (
    truncated,
    emptied,
    huge,
    flipped,
    swapped,
    of_another_version,
    a_folder,
    a_pipe,
    a_link,
    removed,
    deep,
    strange_value,
    strange_value,
    strange_value,
)


def with_true_hashes(folder: Path) -> None:
    """Let the manifest say that the files are as they should be, where there is a manifest to say so."""
    path = folder / "manifest.json"
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 20:
        return
    try:
        manifest = json.loads(path.read_bytes())
        for name in manifest["sha256"]:
            file = folder / name
            if file.is_file() and not file.is_symlink() and file.stat().st_size < 1 << 20:
                manifest["sha256"][name] = hashlib.sha256(file.read_bytes()).hexdigest()
        path.write_text(json.dumps(manifest))
    except (ValueError, KeyError, TypeError, RecursionError):
        # The manifest itself is what was damaged.
        return


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_damaged_registry_leaves_the_worker_serving_what_it_served(served: Served, batch: int) -> None:
    for case in range(batch, CASES, BATCHES):
        rng = random.Random(case)
        version = rng.choice(served.others)
        served.restore()
        folder = served.registry.root / version
        names = [*FILES, *POINTERS]
        name = names[case % len(names)]
        path = served.registry.root / name if name in POINTERS else folder / name
        damage = DAMAGES[case // len(names) % len(DAMAGES)] if case < 2 * CASES // 3 else rng.choice(DAMAGES)
        told = f"case {case}: {damage.__name__} {name}"
        damage(path, rng)
        if rng.random() < 0.7:
            with_true_hashes(folder)
        served.counters.refused_versions.clear()
        served.switch.on_announcement(b"champion", encode_announcement(version))
        current = served.live.current
        refused = len(served.counters.refused_versions)
        assert (current is served.first) == (refused == 1), told
        # Whatever is served now can step every item that it knows, and its gauges are numbers.
        items = np.arange(len(current.vocabulary.item_ids))
        columns = {"item": items} | {name: np.full(len(items), None, object) for name in current.columns}
        _, scores, _ = current.stepper.step(columns, current.stepper.initial_rows(len(items)))
        assert not np.isnan(scores).any(), told
        assert float(current.trained_until_ms or 0) < 1e18, told
        assert list(FreshnessMetrics(served.live).collect()) == [], told
        # The others are shown, and everything can be sent.
        cards = model_cards(served.registry, current.version, None)
        shown = {card["version"] for card in cards["versions"]}
        assert {served.serving, *served.others} - {version} <= shown, told
        json.dumps(cards)


def test_a_report_of_the_wrong_shape_hides_no_other(served: Served) -> None:
    root = served.registry.root / REPORTS
    for number, content in enumerate([b"[" * 100_000, b"[]", b"", b"null", b'{"run": "good"}']):
        (root / str(number)).mkdir(parents=True)
        (root / str(number) / "report.json").write_bytes(content)
    (root / "pipe").mkdir()
    os.mkfifo(root / "pipe" / "report.json")
    (root / "large").mkdir()
    (root / "large" / "report.json").write_bytes(b"")
    os.truncate(root / "large" / "report.json", HUGE_BYTES)
    runs = model_cards(served.registry, None, None)["runs"]
    assert [run["run"] for run in runs if run["outcome"] != "unreadable"] == ["good"]
    assert len(runs) == 7
