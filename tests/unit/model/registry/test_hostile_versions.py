"""Versions whose manifest is in order and whose files mean harm: refused, quickly, and nothing else."""

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import NETWORKS, build
from model.networks.fused.fused_list import FusedList
from model.networks.model_version import ModelVersion
from model.registry import version_files, version_weights
from model.registry.registry import Registry
from model.registry.version_files import RefusedVersion
from model.registry.weights_head import read_head
from model.training.trained_model import TrainedModel


def save(registry: Registry, **config: Any) -> ModelVersion:
    vocabulary = Vocabulary(["a", "b", "c"], np.array([3, 2, 1]), {"a": "Ä"})
    settings = ModelConfig(**{"hidden_size": 4, **config})
    return registry.save(TrainedModel(build(settings, vocabulary), settings, vocabulary), scores={}, data={})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def replace(registry: Registry, version: str, name: str, content: bytes) -> None:
    """Put other content under a name, and its SHA-256 into the manifest."""
    folder = registry.root / version
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def weights(head: object, body: bytes = b"") -> bytes:
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def declared(shape: list[Any], end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}


def config(**changes: Any) -> bytes:
    return json.dumps({**ModelConfig(hidden_size=4).model_dump(mode="json"), **changes}).encode()


def vocabulary(**changes: Any) -> bytes:
    return json.dumps({"item_ids": ["a", "b", "c"], "counts": [3, 2, 1], "titles": {}, **changes}).encode()


DEEP = b"[" * 200_000


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("weights.safetensors", b"", "unreadable"),
        ("weights.safetensors", struct.pack("<Q", 1 << 62) + b"{}", "unreadable"),
        ("weights.safetensors", struct.pack("<Q", 100) + b"{}", "unreadable"),
        ("weights.safetensors", struct.pack("<Q", 5 << 20) + b" " * (5 << 20), "unreadable"),
        ("weights.safetensors", struct.pack("<Q", len(DEEP)) + DEEP, "unreadable"),
        ("weights.safetensors", weights([]), "unreadable"),
        ("weights.safetensors", weights({"a": declared([-1], 4)}, b"\0" * 4), "unreadable"),
        ("weights.safetensors", weights({"a": declared([True], 4)}, b"\0" * 4), "unreadable"),
        ("weights.safetensors", weights({"a": declared([1 << 60, 1 << 60], 4)}, b"\0" * 4), "mismatch"),
        ("weights.safetensors", weights({}), "mismatch"),
        ("config.json", config(hidden_size=8192, layers=8), "mismatch"),
        ("config.json", config(hidden_size=1 << 40), "unreadable"),
        ("config.json", config(hidden_size=-1), "unreadable"),
        ("config.json", config(network="../../evil"), None),
        ("config.json", config(path="/etc/passwd"), "unreadable"),
        ("config.json", DEEP, "unreadable"),
        ("vocabulary.json", vocabulary(item_ids=["a", "a", "b"]), "unreadable"),
        ("vocabulary.json", vocabulary(item_ids=[1, 2, 3]), "unreadable"),
        ("vocabulary.json", vocabulary(item_ids=["a", "b", "\ud800"]), "unreadable"),
        ("vocabulary.json", vocabulary(item_ids="abc"), "unreadable"),
        ("vocabulary.json", vocabulary(counts=[1, 2, 1 << 80]), "unreadable"),
        ("vocabulary.json", vocabulary(counts=[[1], [2], [3]]), "unreadable"),
        ("vocabulary.json", vocabulary(counts=[1, 2, -1]), "unreadable"),
        ("vocabulary.json", vocabulary(titles={"a": ["x"]}), "unreadable"),
        ("vocabulary.json", vocabulary(item_ids=["a", "b"], counts=[1, 2]), "mismatch"),
        ("vocabulary.json", DEEP, "unreadable"),
        ("vocabulary.json", vocabulary(item_ids=["a", "b", "c" * 257]), "mismatch"),
        ("vocabulary.json", vocabulary(item_ids=["a", "b", "c" * 60_000]), "mismatch"),
        ("scores.json", b"[]", "unreadable"),
        ("scores.json", DEEP, "unreadable"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_files_that_mean_harm_are_refused(
    registry: Registry, name: str, content: bytes, reason: str | None
) -> None:
    version = save(registry).version
    replace(registry, version, name, content)
    with pytest.raises(Exception) as caught:
        registry.load(version)
    if reason is None:
        assert "there is no network '../../evil'" in str(caught.value)
    else:
        assert isinstance(caught.value, RefusedVersion), caught.value
        assert caught.value.reason == reason, caught.value


def test_nothing_of_a_large_config_s_size_is_made(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = save(registry).version
    replace(registry, version, "config.json", config(hidden_size=8192, layers=8))
    made: list[torch.device] = []
    real = torch.nn.Module.register_parameter

    def register(module: torch.nn.Module, name: str, param: torch.nn.Parameter | None) -> None:
        if param is not None:
            made.append(param.device)
        real(module, name, param)

    monkeypatch.setattr(torch.nn.Module, "register_parameter", register)
    with pytest.raises(RefusedVersion, match="the weights are not those of 3 items"):
        registry.load(version)
    assert made
    assert {device.type for device in made} == {"meta"}


def link(path: Path) -> None:
    target = path.parent.parent.parent / "elsewhere"
    path.rename(target)
    path.symlink_to(target)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("become", [link, pipe, folder, device])
@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors", "vocabulary.json"])
def test_a_file_that_is_none_is_not_read(
    registry: Registry, name: str, become: Callable[[Path], None]
) -> None:
    version = save(registry).version
    become(registry.root / version / name)
    with pytest.raises(RefusedVersion) as caught:
        registry.load(version)
    assert caught.value.reason == "unreadable"


def test_a_file_beyond_all_measure_is_not_read(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    version = save(registry).version
    with (registry.root / version / "vocabulary.json").open("ab") as file:
        file.truncate(20 << 30)
    with pytest.raises(RefusedVersion, match=r"more than 8,589,934,592"):
        registry.load(version)


@pytest.mark.parametrize(
    "version",
    [
        "..",
        "../other",
        "/etc",
        "a/b",
        "",
        ".hidden",
        "a\0b",
        "a" * 300,
        "a\nb",
        "\x1b[31m",
        "\ud800",
        "ä",
        "a\\b",
    ],
)
def test_a_name_that_is_no_version_leads_nowhere(registry: Registry, version: str) -> None:
    save(registry)
    with pytest.raises(RefusedVersion) as caught:
        registry.load(version)
    assert caught.value.reason == "unknown"
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_version_that_is_a_link_out_of_the_registry_is_not_followed(registry: Registry) -> None:
    version = save(registry).version
    outside = registry.root.parent / "outside"
    (registry.root / version).rename(outside)
    (registry.root / version).symlink_to(outside)
    with pytest.raises(RefusedVersion, match="there is no version"):
        registry.load(version)


def test_the_manifest_names_no_file_that_is_read(registry: Registry, tmp_path: Path) -> None:
    version = save(registry).version
    manifest = registry.root / version / "manifest.json"
    told = json.loads(manifest.read_bytes())
    told["sha256"]["../../../etc/passwd"] = "0" * 64
    manifest.write_text(json.dumps(told))
    assert registry.load(version).version == version
    manifest.write_bytes(DEEP)
    with pytest.raises(RefusedVersion) as caught:
        registry.load(version)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_every_network_says_its_shapes_without_taking_memory(registry: Registry, network: str) -> None:
    loss = {"feature-lstm": {"loss": "full-cross-entropy"}, "text-gru": {"loss": "cosine"}}.get(network, {})
    version = save(registry, network=network, **loss).version
    assert registry.load(version).version == version


def test_weights_of_another_type_are_not_cast(registry: Registry) -> None:
    saved = save(registry)
    doubled = {name: tensor.double().contiguous() for name, tensor in saved.network.state_dict().items()}
    replace(registry, saved.version, "weights.safetensors", safetensors.torch.save(doubled))
    with pytest.raises(RefusedVersion, match=r"float64, not .* float32") as caught:
        registry.load(saved.version)
    assert caught.value.reason == "mismatch"


def test_files_beyond_the_free_memory_are_refused_before_they_are_read(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = save(registry).version
    head = json.dumps({"a": declared([1 << 34], 4 << 34)}).encode()
    content = struct.pack("<Q", len(head)) + head
    path = registry.root / version / "weights.safetensors"
    path.write_bytes(content)
    # Sparse: 64 GiB that take no room on the disk.
    os.truncate(path, len(content) + (4 << 34))
    monkeypatch.setattr(version_weights, "available_memory_bytes", lambda: 16 << 30)
    monkeypatch.setitem(version_files.MOST_BYTES, "weights.safetensors", 1 << 40)
    with pytest.raises(RefusedVersion, match=r"196,608 MiB, 16,384 are free") as caught:
        registry.load(version)
    assert caught.value.reason == "memory"
    os.truncate(path, 8 << 30)
    with pytest.raises(RefusedVersion, match=r"its head declares 68,719,476,\d+"):
        registry.load(version)


def test_a_network_larger_than_the_free_memory_is_not_made(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = save(registry, network="transitions", neighbours=3).version
    replace(registry, version, "config.json", config(network="transitions", neighbours=100_000))
    monkeypatch.setattr(version_weights, "available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(RefusedVersion, match="the network of its config") as caught:
        registry.load(version)
    assert caught.value.reason == "memory"


@pytest.mark.parametrize("network", ["transitions", "v-sknn"])
def test_neighbours_that_are_no_items_are_refused(registry: Registry, network: str) -> None:
    saved = save(registry, network=network, neighbours=3)
    tensors = {name: tensor.contiguous() for name, tensor in saved.network.state_dict().items()}
    if network == "transitions":
        tensors["ids_VN"] = torch.full((3, 3), 3)
    else:
        tensors["item_begins_V"] = torch.tensor([0, 1, 1, 1])
        tensors["item_sessions_P"] = torch.tensor([0])
        tensors["session_begins_S"] = torch.tensor([0, 1])
        tensors["session_items_P"] = torch.tensor([7])
    replace(registry, saved.version, "weights.safetensors", safetensors.torch.save(tensors))
    with pytest.raises(RefusedVersion, match="not there"):
        registry.load(saved.version)


def test_a_head_is_read_as_it_is_written() -> None:
    head = {"__metadata__": {"format": "pt"}, "a": declared([2, 3], 24), "b": declared([], 4)}
    found = read_head(weights(head), 1000)
    assert {name: declared.shape for name, declared in found.tensors.items()} == {"a": (2, 3), "b": ()}
    assert found.file_bytes == len(weights(head)) + 24


def test_a_fused_list_of_before_its_sources_followed_is_ordered_by_its_one_ranker(registry: Registry) -> None:
    saved = save(registry, network="fused")
    assert isinstance(saved.network, FusedList)
    saved.network.ranker.weight_FH.uniform_()
    older = {
        name: tensor.contiguous()
        for name, tensor in saved.network.state_dict().items()
        if not name.startswith("following_ranker.")
    }
    replace(registry, saved.version, "weights.safetensors", safetensors.torch.save(older))
    network = registry.load(saved.version).network
    assert isinstance(network, FusedList)
    standing = network.ranker.weight_FH
    assert torch.equal(standing, saved.network.ranker.weight_FH)
    assert torch.equal(network.following_ranker.weight_FH[: len(standing)], standing)
    assert not network.following_ranker.weight_FH[len(standing) :].any()
    # Nothing else may be missing.
    replace(registry, saved.version, "weights.safetensors", safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(RefusedVersion, match="not those of 3 items"):
        registry.load(saved.version)
