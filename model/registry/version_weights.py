"""The network of a version: written beside its files with their hashes, built from untrusted ones.

A reader checks sizes against the free memory before it reads a file, and the shapes and types that a
weights file declares before it allocates memory for them. Whatever goes wrong refuses the version.

Tested by tests/unit/model/registry/test_hostile_versions.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.config import ModelConfig
from model.data.vocabulary import LONGEST_ITEM_ID, Vocabulary
from model.errors import NextclickError
from model.memory import available_memory_bytes
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.networks.network import Network
from model.registry.bounded_files import read_start
from model.registry.manifest import FORMAT
from model.registry.version_files import (
    CONFIG,
    MANIFEST,
    MEMORY,
    MIB,
    MISMATCH,
    MOST_BYTES,
    NOT_FINITE,
    OPTIMIZER,
    SCORES,
    UNREADABLE,
    VOCABULARY,
    WEIGHTS,
    RefusedVersion,
    VersionFiles,
    described,
)
from model.registry.weights_head import MOST_HEADER_BYTES, bytes_of, difference, read_head
from model.training.trained_model import TrainedModel

# Memory that loading takes at its peak: the file, its tensors and the network of weights; of a vocabulary
# its text, and each of its items and values (tests/unit/model/registry/test_memory_of_loading.py measures).
WEIGHTS_COPIES, TEXT_COPIES, ITEM_BYTES, VALUE_BYTES = 3, 3, 250, 140


def load_version(files: VersionFiles) -> ModelVersion:
    """Check that the files of a version fit each other, then build its network and load the weights.

    Raises RefusedVersion.
    """
    return _LoadedVersion(files).load()


class _LoadedVersion:
    """One loading of a version: its checks, in the order in which memory is taken."""

    def __init__(self, files: VersionFiles) -> None:
        self._files = files

    def load(self) -> ModelVersion:
        """Check that the files fit each other, then build the network and load its weights."""
        try:
            return self._load()
        except NextclickError:
            raise
        except Exception as error:
            # Whatever a file of a version can bring about, it must not end a worker that serves another.
            raise self._files.corrupt(f"loading it failed: {described(error)}", UNREADABLE) from error

    def _load(self) -> ModelVersion:
        manifest = self._files.manifest
        self._check_sizes(manifest["items"])
        contents = {name: self._files.verified(name) for name in (WEIGHTS, CONFIG, VOCABULARY)}
        scores = self._files.scores()
        try:
            config = ModelConfig.model_validate_json(contents[CONFIG])
            # A text of JSON has fewer values than commas, whatever the manifest says.
            values = contents[VOCABULARY].count(b",")
            self._check_memory(f"the {values:,} values of {VOCABULARY}", VALUE_BYTES * values)
            vocabulary = Vocabulary.from_json(contents.pop(VOCABULARY))
            head = read_head(contents[WEIGHTS], len(contents[WEIGHTS]))
            # Device "meta" allocates no memory, whatever sizes the config declares.
            with torch.device("meta"):
                expected = build(config, vocabulary)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            raise self._files.corrupt(f"its files cannot be read: {described(error)}", UNREADABLE) from error
        self._check_items(vocabulary)
        # The sizes of counts depend on the data; the size of the file bounds them.
        unlike = difference(
            head.tensors,
            expected.state_dict(),
            any_size=expected.sized_by_data,
            may_lack=expected.added_later,
        )
        if unlike:
            what = f"the weights are not those of {len(vocabulary)} items and of its config: {unlike}"
            raise self._files.corrupt(what, MISMATCH)
        self._check_memory("the network of its config", bytes_of(expected.state_dict()))
        network = self._network(build(config, vocabulary), contents.pop(WEIGHTS))
        return ModelVersion(self._files.folder.name, config, vocabulary, network.eval(), scores, manifest)

    def _network(self, network: Network, content: bytes) -> Network:
        """Load the weights of a file into a network that they fit."""
        try:
            weights = load_tensors(content)
        except (SafetensorError, RuntimeError, ValueError) as error:
            raise self._files.corrupt(f"{WEIGHTS} cannot be read: {error}", UNREADABLE) from error
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise self._files.corrupt(
                f"the weights are not those of its config: {error}", MISMATCH
            ) from error
        broken = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
        if broken:
            raise self._files.corrupt(f"weights that are no numbers in {', '.join(broken)}", NOT_FINITE)
        return network

    def _check_sizes(self, items: int) -> None:
        """Refuse files that do not fit into the memory, before any of them is read."""
        try:
            start, weights_bytes = read_start(self._files.folder / WEIGHTS, MOST_HEADER_BYTES)
            _, text_bytes = read_start(self._files.folder / VOCABULARY, 0)
        except OSError:
            # Reading them says what it is.
            return
        if weights_bytes > MOST_BYTES[WEIGHTS] or text_bytes > MOST_BYTES[VOCABULARY]:
            return
        if weights_bytes > MOST_HEADER_BYTES:
            # Too large to be read only for its hash.
            try:
                declared_bytes = read_head(start, weights_bytes).file_bytes
            except (ValueError, RecursionError) as error:
                raise self._files.corrupt(
                    f"{WEIGHTS} cannot be read: {described(error)}", UNREADABLE
                ) from error
            if declared_bytes != weights_bytes:
                what = f"{WEIGHTS} has {weights_bytes:,} bytes, its head declares {declared_bytes:,}"
                raise self._files.corrupt(what, UNREADABLE)
        needed = WEIGHTS_COPIES * weights_bytes + TEXT_COPIES * text_bytes + ITEM_BYTES * items
        self._check_memory(f"{WEIGHTS} and {VOCABULARY}", needed)

    def _check_memory(self, what: str, needed_bytes: int) -> None:
        free_bytes = available_memory_bytes()
        folder = self._files.folder
        if needed_bytes > free_bytes:
            raise RefusedVersion(
                MEMORY,
                f"model version {folder.name} in {folder.parent} does not fit into the memory: "
                f"{what} would take {needed_bytes / MIB:,.0f} MiB, {free_bytes / MIB:,.0f} are free",
                "It is not loaded; whatever served before goes on.",
                "Give the process more memory, or train a smaller version.",
            )

    def _check_items(self, vocabulary: Vocabulary) -> None:
        if self._files.manifest["items"] != len(vocabulary):
            what = f"the vocabulary has {len(vocabulary)} items, the manifest {self._files.manifest['items']}"
            raise self._files.corrupt(what, MISMATCH)
        if not len(vocabulary):
            raise self._files.corrupt("it has no items", MISMATCH)
        longest = max(map(len, vocabulary.item_ids))
        if longest > LONGEST_ITEM_ID:
            what = f"an item id has {longest:,} characters, no event has more than {LONGEST_ITEM_ID}"
            raise self._files.corrupt(what, MISMATCH)


def optimizer_state(files: VersionFiles) -> dict[str, Tensor] | None:
    """Returns the optimizer's tensors by name, None when the version has no optimizer state."""
    if OPTIMIZER not in files.manifest["sha256"]:
        return None
    try:
        return load_tensors(files.verified(OPTIMIZER))
    except SafetensorError as error:
        raise files.corrupt(f"{OPTIMIZER} cannot be read: {error}", UNREADABLE) from error


def new_version(
    trained: TrainedModel, scores: Mapping[str, Any], data: Mapping[str, Any], reports: Mapping[str, bytes]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Returns the manifest of a new version, and its files by name.

    The version's name is the UTC time and the hash of all contents.
    """
    network, config, vocabulary = trained.network, trained.config, trained.vocabulary
    files = {
        WEIGHTS: save_tensors({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}),
        CONFIG: config.model_dump_json(indent=2).encode(),
        VOCABULARY: vocabulary.to_json().encode(),
        SCORES: json.dumps(dict(scores), indent=2).encode(),
        **reports,
    }
    if trained.optimizer_state:
        files[OPTIMIZER] = save_tensors({k: v.cpu().contiguous() for k, v in trained.optimizer_state.items()})
    created = datetime.now(UTC)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    whole = hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()
    version = f"{created:%Y%m%dT%H%M%S}{created.microsecond // 1000:03d}Z-{whole[:8]}"
    manifest = {
        "format": FORMAT,
        "version": version,
        "created": created.isoformat(),
        "network": config.network,
        "items": len(vocabulary),
        "data": dict(data),
        "sha256": digests,
    }
    files[MANIFEST] = json.dumps(manifest, indent=2).encode()
    return manifest, files
