"""The registry: a folder of immutable model versions, of which one is champion.

A version is a folder {weights.safetensors, config.json, vocabulary.json, scores.json,
manifest.json}, written under a temporary name and renamed whole, so that a half-written
one is never seen. The manifest has the SHA-256 of every file; loading verifies all of
them. Nothing is pickled.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.durable import sync_folder, write_durably
from model.errors import NextclickError
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.networks.network import CountingNetwork
from model.registry.champions import Champions
from model.registry.version_files import VERSION_NAME, declared_shapes, read_file, shape_difference
from model.training.trained_model import TrainedModel
from model.training.warm_start import WarmStart

FORMAT = 1
WEIGHTS, CONFIG, VOCABULARY, SCORES = "weights.safetensors", "config.json", "vocabulary.json", "scores.json"
OPTIMIZER = "optimizer.safetensors"
MANIFEST = "manifest.json"
UNFINISHED_PREFIX = ".unfinished-"
# Of what people read about versions; no version itself.
REPORTS = "reports"
# Why a version is not served.
UNKNOWN, CHECKSUM, UNREADABLE, MISMATCH, NOT_FINITE = (
    "unknown",
    "checksum",
    "unreadable",
    "mismatch",
    "not_finite",
)
REFUSALS = (UNKNOWN, CHECKSUM, UNREADABLE, MISMATCH, NOT_FINITE)


class RefusedVersion(NextclickError):
    """A version that is not to serve; `reason` is one of REFUSALS."""

    def __init__(self, reason: str, what: str, meaning: str, remedy: str) -> None:
        super().__init__(what, meaning, remedy)
        self.reason = reason


class Registry:
    """Versions under one root folder, which is made when something is saved."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.champions = Champions(root)

    def save(
        self,
        trained: TrainedModel,
        *,
        scores: Mapping[str, Any],
        data: Mapping[str, Any],
        reports: Mapping[str, bytes] | None = None,
    ) -> ModelVersion:
        """Write a new version and return it; CHAMPION stays where it is.

        `scores` are its measured qualities, `data` says what it was trained on (files,
        event-time range), `reports` are files for people (plots), by name. A later training can go
        on from the version when it has an optimizer state. The version id is the UTC time and the
        hash of its contents.
        """
        network, config, vocabulary = trained.network, trained.config, trained.vocabulary
        files = {
            WEIGHTS: save_tensors(
                {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
            ),
            CONFIG: config.model_dump_json(indent=2).encode(),
            VOCABULARY: vocabulary.to_json().encode(),
            SCORES: json.dumps(dict(scores), indent=2).encode(),
            **(reports or {}),
        }
        if trained.optimizer_state:
            files[OPTIMIZER] = save_tensors(
                {k: v.cpu().contiguous() for k, v in trained.optimizer_state.items()}
            )
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
        folder = self.root / f"{UNFINISHED_PREFIX}{version}-{os.getpid()}"
        folder.mkdir(parents=True)
        # Locked while it is written, so that it can be told from what a killed process left.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for name, content in files.items():
                write_durably(folder / name, content)
            sync_folder(folder)
            folder.rename(self.root / version)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(descriptor)
        sync_folder(self.root)
        return ModelVersion(version, config, vocabulary, network.eval(), dict(scores), manifest)

    def load(self, version: str | None = None) -> ModelVersion:
        """Load a version (None: the champion), every file verified against the manifest.

        Raises RefusedVersion when it is absent, altered, cut off, not understood, or when weights
        and vocabulary do not belong together or are no numbers.
        """
        if version is None:
            version = self.champion()
            if version is None:
                raise NextclickError(
                    f"the registry {self.root} has no champion",
                    "There is no model to serve or to evaluate.",
                    "Train one with `nextclick train`, or promote one.",
                )
        folder = self._folder(version)
        manifest = self._manifest(folder)
        contents = {
            name: self._verified(folder, name, manifest["sha256"][name])
            for name in (WEIGHTS, CONFIG, VOCABULARY, SCORES)
        }
        try:
            config = ModelConfig.model_validate_json(contents[CONFIG])
            vocabulary = Vocabulary.from_json(contents[VOCABULARY].decode())
            scores = json.loads(contents[SCORES])
            declared = declared_shapes(contents[WEIGHTS])
            # Takes no memory, however large the config says that it is.
            with torch.device("meta"):
                expected = build(config, vocabulary)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            raise _corrupt(folder, f"its files cannot be read: {error}", UNREADABLE) from error
        if not isinstance(scores, dict):
            raise _corrupt(folder, f"{SCORES} is no object", UNREADABLE)
        if manifest["items"] != len(vocabulary):
            what = f"the vocabulary has {len(vocabulary)} items, the manifest {manifest['items']}"
            raise _corrupt(folder, what, MISMATCH)
        # What is counted has sizes that only the data say; the file itself bounds them.
        difference = shape_difference(
            declared, expected.state_dict(), sizes=not isinstance(expected, CountingNetwork)
        )
        if difference:
            what = f"the weights are not those of {len(vocabulary)} items and of its config: {difference}"
            raise _corrupt(folder, what, MISMATCH)
        try:
            network = build(config, vocabulary)
            weights = load_tensors(contents[WEIGHTS])
        except (SafetensorError, RuntimeError, ValueError) as error:
            raise _corrupt(folder, f"{WEIGHTS} cannot be read: {error}", UNREADABLE) from error
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            what = f"the weights are not those of {len(vocabulary)} items and of its config: {error}"
            raise _corrupt(folder, what, MISMATCH) from error
        broken = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
        if broken:
            raise _corrupt(folder, f"weights that are no numbers in {', '.join(broken)}", NOT_FINITE)
        return ModelVersion(version, config, vocabulary, network.eval(), scores, manifest)

    def warm_start(self, model: ModelVersion) -> WarmStart:
        """What a training that goes on from this version needs.

        Raises NextclickError when the version was saved without it, or when it is altered.
        """
        folder = self._folder(model.version)
        digest = self._manifest(folder)["sha256"].get(OPTIMIZER)
        if digest is None:
            raise NextclickError(
                f"version {model.version} has no {OPTIMIZER}",
                f"A training cannot go on from it: {model.config.network} keeps no optimizer state.",
                "Train from the beginning, or name another version.",
            )
        try:
            state = load_tensors(self._verified(folder, OPTIMIZER, digest))
        except SafetensorError as error:
            raise _corrupt(folder, f"{OPTIMIZER} cannot be read: {error}", UNREADABLE) from error
        return WarmStart(model.network.state_dict(), state, model.vocabulary)

    def versions(self, refused: list[RefusedVersion] | None = None) -> list[dict[str, Any]]:
        """The manifests of all versions, oldest first, each with `scores` and whether it is `champion`.

        One that cannot be read is put into `refused`; without it RefusedVersion is raised.
        """
        champion = self.champion()
        rows = []
        for folder in sorted(self.root.glob("*")) if self.root.is_dir() else []:
            if folder.is_dir() and not folder.name.startswith(".") and folder.name != REPORTS:
                try:
                    manifest = self._manifest(folder)
                    scores = json.loads(self._verified(folder, SCORES, manifest["sha256"][SCORES]))
                except RefusedVersion as error:
                    if refused is None:
                        raise
                    refused.append(error)
                else:
                    rows.append({**manifest, "scores": scores, "champion": folder.name == champion})
        return rows

    def champion(self) -> str | None:
        """The version that CHAMPION names, None when there is none."""
        return self.champions.current()

    def promote(self, version: str) -> str | None:
        """Point CHAMPION at a version that is there and whole; → the champion before it.

        Raises RefusedVersion otherwise.
        """
        self.load(version)
        return self.champions.promote(version)

    def succeed(self, version: str, former: str | None) -> bool:
        """As promote, if CHAMPION still names `former` (None: nobody); → whether it did."""
        self.load(version)
        return self.champions.succeed(version, former)

    def go_back(self, version: str, *, instead_of: str) -> bool:
        """Point CHAMPION back at a former champion if it still names `instead_of`; → whether it did.

        Raises RefusedVersion when that is not whole any more, ValueError when it never was champion.
        """
        self.load(version)
        return self.champions.go_back(version, instead_of)

    def remove_unfinished(self) -> list[str]:
        """Remove the versions that killed processes left half-written; → their names."""
        removed = []
        for folder in sorted(self.root.glob(f"{UNFINISHED_PREFIX}*")):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                shutil.rmtree(folder)
                removed.append(folder.name)
            finally:
                os.close(descriptor)
        return removed

    def _folder(self, version: str) -> Path:
        folder = self.root / version
        if not VERSION_NAME.fullmatch(version) or folder.is_symlink() or not folder.is_dir():
            raise RefusedVersion(
                UNKNOWN,
                f"there is no version {version!r} in {self.root}",
                "It was never saved here, or its folder was removed.",
                "`nextclick models` lists the versions.",
            )
        return folder

    def _manifest(self, folder: Path) -> dict[str, Any]:
        try:
            manifest: dict[str, Any] = json.loads(read_file(folder / MANIFEST))
            known = (
                manifest["format"] == FORMAT
                and isinstance(manifest["items"], int)
                and isinstance(manifest.get("data"), dict)
                and {WEIGHTS, CONFIG, VOCABULARY, SCORES} <= manifest["sha256"].keys()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _corrupt(folder, f"{MANIFEST} cannot be read: {error}", UNREADABLE) from error
        if not known:
            raise _corrupt(folder, f"{MANIFEST} is of another format", UNREADABLE)
        return manifest

    def _verified(self, folder: Path, name: str, digest: str) -> bytes:
        try:
            content = read_file(folder / name)
        except OSError as error:
            raise _corrupt(folder, f"{name} cannot be read: {error}", UNREADABLE) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise _corrupt(folder, f"{name} ({len(content)} bytes) does not match its SHA-256", CHECKSUM)
        return content


def _corrupt(folder: Path, what: str, reason: str) -> RefusedVersion:
    return RefusedVersion(
        reason,
        f"model version {folder.name} in {folder.parent} is corrupt: {what}",
        "It is not loaded; whatever served before goes on.",
        "Promote another version, or train again.",
    )
