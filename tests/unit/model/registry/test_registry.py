import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.training.trained_model import TrainedModel


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def save(registry: Registry, seed: int = 0) -> ModelVersion:
    torch.manual_seed(seed)
    vocabulary = Vocabulary(["a", "b", "c"], np.array([3, 2, 1]), {"a": "Ä"})
    config = ModelConfig(hidden_size=4)
    return registry.save(
        TrainedModel(build(config, vocabulary), config, vocabulary),
        scores={"recall": 0.5},
        data={"events": 6},
    )


def test_a_version_comes_back_as_it_was_saved(registry: Registry) -> None:
    saved = save(registry)
    loaded = registry.load(saved.version)
    assert loaded.config == saved.config
    assert loaded.vocabulary.titles == {"a": "Ä"}
    assert loaded.scores == {"recall": 0.5}
    for name, tensor in saved.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)
    assert not loaded.network.training


def test_the_champion_is_what_was_promoted(registry: Registry) -> None:
    assert registry.champion() is None
    with pytest.raises(NextclickError, match="no champion"):
        registry.load()
    first, second = save(registry), save(registry, seed=1)
    registry.promote(first.version)
    assert registry.load().version == first.version
    registry.promote(second.version)
    assert [row["champion"] for row in registry.versions()] == [False, True]


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "vocabulary.json", "scores.json"])
@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_a_damaged_file_is_found_and_named(registry: Registry, name: str, damage: str) -> None:
    version = save(registry).version
    path = registry.root / version / name
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "altered":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.unlink()
    with pytest.raises(NextclickError, match=name):
        registry.load(version)
    with pytest.raises(NextclickError, match=name):
        registry.promote(version)


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"format": 99, "sha256": {}}'])
def test_a_damaged_manifest_is_an_error(registry: Registry, manifest: str) -> None:
    version = save(registry).version
    (registry.root / version / "manifest.json").write_text(manifest)
    with pytest.raises(NextclickError, match="corrupt"):
        registry.load(version)


def test_weights_that_are_no_numbers_are_refused(registry: Registry) -> None:
    vocabulary = Vocabulary(["a", "b"], np.array([1, 1]))
    config = ModelConfig(hidden_size=4)
    network = build(config, vocabulary)
    network.get_parameter("bias_V").data[0] = float("nan")
    version = registry.save(TrainedModel(network, config, vocabulary), scores={}, data={}).version
    with pytest.raises(NextclickError, match="bias_V"):
        registry.load(version)


def test_what_a_killed_save_left_is_no_version(registry: Registry) -> None:
    version = save(registry).version
    (registry.root / ".unfinished-x").mkdir()
    assert [row["version"] for row in registry.versions()] == [version]
    with pytest.raises(NextclickError, match="no version"):
        registry.load(".unfinished-x")


def test_what_a_killed_save_left_is_removed_and_what_is_being_saved_is_not(registry: Registry) -> None:
    version = save(registry).version
    left, saving = registry.root / ".unfinished-a", registry.root / ".unfinished-b"
    for folder in (left, saving):
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"half")
    descriptor = os.open(saving, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert registry.remove_unfinished() == [left.name]
    finally:
        os.close(descriptor)
    assert not left.exists()
    assert saving.exists()
    assert registry.load(version).version == version


def test_a_version_is_locked_while_it_is_saved(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def meanwhile(self: Path, target: Path) -> Path:
        assert registry.remove_unfinished() == []
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    version = save(registry).version
    assert registry.load(version).version == version


def test_reports_beside_the_versions_are_no_version(registry: Registry) -> None:
    version = save(registry).version
    (registry.root / "reports" / "x").mkdir(parents=True)
    assert [row["version"] for row in registry.versions()] == [version]


@pytest.mark.parametrize("version", ["..", "../x", "", "nowhere"])
def test_a_version_is_a_name_in_the_registry_and_no_path(registry: Registry, version: str) -> None:
    save(registry)
    with pytest.raises(NextclickError, match="no version"):
        registry.load(version)


def test_the_manifest_says_what_was_trained_on(registry: Registry) -> None:
    saved = save(registry)
    manifest = json.loads((registry.root / saved.version / "manifest.json").read_text())
    assert manifest["items"] == 3
    assert manifest["data"] == {"events": 6}
    assert set(manifest["sha256"]) == {"weights.safetensors", "config.json", "vocabulary.json", "scores.json"}
