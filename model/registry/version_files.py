"""The files of a model version: written with their hashes, read as untrusted input.

A reader accepts only a regular file of bounded size in the version's folder: a link cannot lead out of
the registry, a pipe cannot block the reader, a file cannot fill the memory. The reader checks the shapes
that a weights file declares before it allocates memory for them.

Tested by tests/unit/model/registry/test_hostile_versions.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.training.trained_model import TrainedModel

FORMAT = 1
WEIGHTS, CONFIG, VOCABULARY, SCORES = "weights.safetensors", "config.json", "vocabulary.json", "scores.json"
OPTIMIZER = "optimizer.safetensors"
MANIFEST = "manifest.json"
# Reasons to refuse a version.
UNKNOWN, CHECKSUM, UNREADABLE, MISMATCH, NOT_FINITE = (
    "unknown",
    "checksum",
    "unreadable",
    "mismatch",
    "not_finite",
)
REFUSALS = (UNKNOWN, CHECKSUM, UNREADABLE, MISMATCH, NOT_FINITE)
VERSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
MIB = 1 << 20
# Far above the size of any version's file; the vocabulary and the weights grow with the items.
MOST_BYTES = {
    MANIFEST: MIB,
    CONFIG: MIB,
    SCORES: 64 * MIB,
    VOCABULARY: 8 << 30,
    WEIGHTS: 64 << 30,
    OPTIMIZER: 128 << 30,
}
MOST_HEADER_BYTES = 4 * MIB

Shapes = dict[str, tuple[int, ...]]


class RefusedVersion(NextclickError):
    """A version that must not serve; `reason` is one of REFUSALS."""

    def __init__(self, reason: str, what: str, meaning: str, remedy: str) -> None:
        super().__init__(what, meaning, remedy)
        self.reason = reason


def read_file(path: Path) -> bytes:
    """Returns the content of a version's file. Raises OSError, also when it is not regular or too large."""
    most = MOST_BYTES[path.name]
    # Without O_NONBLOCK, opening a pipe would block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no regular file")
        if found.st_size > most:
            raise OSError(f"it has {found.st_size:,} bytes, more than {most:,}")
        return file.read(found.st_size)


def declared_shapes(weights: bytes) -> Shapes:
    """Returns each tensor's shape, as the head of a safetensors file declares. Raises ValueError.

    This function bounds the head's size; safetensors checks that the head fits the rest of the file.

    >>> import torch
    >>> declared_shapes(save_tensors({"bias": torch.zeros(4)}))
    {'bias': (4,)}
    """
    length = int.from_bytes(weights[:8], "little")
    if len(weights) < 8 or length > min(MOST_HEADER_BYTES, len(weights) - 8):
        raise ValueError(f"its head is said to have {length:,} bytes")
    head = json.loads(weights[8 : 8 + length])
    if not isinstance(head, dict):
        raise ValueError("its head is no object")
    shapes: Shapes = {}
    for name, declared in head.items():
        if name == "__metadata__":
            continue
        shape = declared.get("shape") if isinstance(declared, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"the shape of {name[:100]!r} is none")
        shapes[name] = tuple(shape)
    return shapes


def shape_difference(
    declared: Shapes,
    expected: Mapping[str, Tensor],
    *,
    any_size: tuple[str, ...] = (),
    may_lack: tuple[str, ...] = (),
) -> str:
    """Returns the first difference between the declared and the expected tensors, "" without difference.

    Of tensors whose name begins with one of `any_size` only the number of dimensions counts; one of
    `may_lack` need not be there.

    >>> import torch
    >>> shape_difference({"bias": (3,)}, {"bias": torch.zeros(4)})
    "'bias' is (3,), not (4,)"
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    for name in sorted(declared.keys() | wanted.keys()):
        there, shape = declared.get(name), wanted.get(name)
        same = there == shape or (there is None and name.startswith(may_lack))
        if there is not None and shape is not None and name.startswith(any_size):
            same = len(there) == len(shape)
        if not same:
            return f"{name[:100]!r} is {declared.get(name, 'not there')}, not {wanted.get(name, 'there')}"
    return ""


class VersionFiles:
    """The files of one version's folder, each checked against the manifest before use.

    Every method raises RefusedVersion for a file that is missing, altered or of another format.

    >>> VersionFiles(Path("no-such-version")).corrupt("it is empty", UNREADABLE).reason
    'unreadable'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest. Raises RefusedVersion when it is unreadable or of another format."""
        try:
            manifest: dict[str, Any] = json.loads(read_file(self.folder / MANIFEST))
            known = (
                manifest["format"] == FORMAT
                and isinstance(manifest["items"], int)
                and isinstance(manifest.get("data"), dict)
                and {WEIGHTS, CONFIG, VOCABULARY, SCORES} <= manifest["sha256"].keys()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self.corrupt(f"{MANIFEST} cannot be read: {error}", UNREADABLE) from error
        if not known:
            raise self.corrupt(f"{MANIFEST} is of another format", UNREADABLE)
        return manifest

    def scores(self) -> Any:
        """Returns the measured qualities."""
        return json.loads(self.verified(SCORES))

    def verified(self, name: str) -> bytes:
        """Returns the content of a file that the manifest names, after checking its SHA-256."""
        try:
            content = read_file(self.folder / name)
        except OSError as error:
            raise self.corrupt(f"{name} cannot be read: {error}", UNREADABLE) from error
        if hashlib.sha256(content).hexdigest() != self.manifest["sha256"][name]:
            raise self.corrupt(f"{name} ({len(content)} bytes) does not match its SHA-256", CHECKSUM)
        return content

    def load(self) -> ModelVersion:
        """Check that the files fit each other, then build the network and load its weights."""
        manifest = self.manifest
        contents = {name: self.verified(name) for name in (WEIGHTS, CONFIG, VOCABULARY, SCORES)}
        try:
            config = ModelConfig.model_validate_json(contents[CONFIG])
            vocabulary = Vocabulary.from_json(contents[VOCABULARY].decode())
            scores = json.loads(contents[SCORES])
            declared = declared_shapes(contents[WEIGHTS])
            # Device "meta" allocates no memory, whatever sizes the config declares.
            with torch.device("meta"):
                expected = build(config, vocabulary)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            raise self.corrupt(f"its files cannot be read: {error}", UNREADABLE) from error
        if not isinstance(scores, dict):
            raise self.corrupt(f"{SCORES} is no object", UNREADABLE)
        if manifest["items"] != len(vocabulary):
            what = f"the vocabulary has {len(vocabulary)} items, the manifest {manifest['items']}"
            raise self.corrupt(what, MISMATCH)
        # The sizes of counts depend on the data; the size of the file bounds them.
        difference = shape_difference(
            declared, expected.state_dict(), any_size=expected.sized_by_data, may_lack=expected.added_later
        )
        if difference:
            what = f"the weights are not those of {len(vocabulary)} items and of its config: {difference}"
            raise self.corrupt(what, MISMATCH)
        try:
            network = build(config, vocabulary)
            weights = load_tensors(contents[WEIGHTS])
        except (SafetensorError, RuntimeError, ValueError) as error:
            raise self.corrupt(f"{WEIGHTS} cannot be read: {error}", UNREADABLE) from error
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            what = f"the weights are not those of {len(vocabulary)} items and of its config: {error}"
            raise self.corrupt(what, MISMATCH) from error
        broken = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
        if broken:
            raise self.corrupt(f"weights that are no numbers in {', '.join(broken)}", NOT_FINITE)
        return ModelVersion(self.folder.name, config, vocabulary, network.eval(), scores, manifest)

    def optimizer_state(self) -> dict[str, Tensor] | None:
        """Returns the optimizer's tensors by name, None when the version has no optimizer state."""
        if OPTIMIZER not in self.manifest["sha256"]:
            return None
        try:
            return load_tensors(self.verified(OPTIMIZER))
        except SafetensorError as error:
            raise self.corrupt(f"{OPTIMIZER} cannot be read: {error}", UNREADABLE) from error

    def corrupt(self, what: str, reason: str) -> RefusedVersion:
        """Returns the error of a version that must not serve."""
        return RefusedVersion(
            reason,
            f"model version {self.folder.name} in {self.folder.parent} is corrupt: {what}",
            "It is not loaded; whatever served before goes on.",
            "Promote another version, or train again.",
        )


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
