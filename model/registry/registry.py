"""The registry: a folder of immutable model versions, of which one is champion.

A version is a folder {weights.safetensors, config.json, vocabulary.json, scores.json, manifest.json}.
It is written under a temporary name, then renamed, so that no reader meets a half-written version. The
manifest has the SHA-256 of every file; loading verifies all of them. No file is a pickle.

What loads or saves a network imports it then: listing versions and reading the champion need no torch.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config import ModelConfig
from model.data.learned_events import LearnedEvents
from model.durable import sync_folder, write_durably
from model.errors import NextclickError
from model.registry.champions import Champions
from model.registry.version_files import (
    CONFIG,
    OPTIMIZER,
    UNKNOWN,
    UNREADABLE,
    VERSION_NAME,
    RefusedVersion,
    VersionFiles,
)

if TYPE_CHECKING:
    from model.networks.model_version import ModelVersion
    from model.training.trained_model import TrainedModel
    from model.training.warm_start import WarmStart

UNFINISHED_PREFIX = ".unfinished-"
# The folder of reports for people; it is not a version.
REPORTS = "reports"
MOST_REPORT_BYTES = 16 << 20


class Registry:
    """Versions under one root folder, which the first `save` makes.

    >>> registry = Registry(Path("no-such-folder"))
    >>> registry.champion(), registry.versions()
    (None, [])
    """

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
        """Write a new version and return it; CHAMPION does not change.

        `scores` are its measured qualities, `data` describes its training data (files, event-time
        range), `reports` are files for people (plots), by name. A later training can go on from a
        version with an optimizer state. The version id is the UTC time and the hash of all contents.
        """
        from model.networks.model_version import ModelVersion
        from model.registry.version_weights import new_version

        manifest, files = new_version(trained, scores, data, reports or {})
        version = manifest["version"]
        folder = self.root / f"{UNFINISHED_PREFIX}{version}-{os.getpid()}"
        folder.mkdir(parents=True)
        # The lock distinguishes a folder being written from the folder of a killed process.
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
        return ModelVersion(
            version, trained.config, trained.vocabulary, trained.network.eval(), dict(scores), manifest
        )

    def load(self, version: str | None = None) -> ModelVersion:
        """Load a version (None: the champion), every file verified against the manifest.

        Raises RefusedVersion when the version is absent, altered, truncated or of another format, when
        weights and vocabulary do not fit each other, or when weights are not finite.
        """
        if version is None:
            version = self.champion()
            if version is None:
                raise NextclickError(
                    f"the registry {self.root} has no champion",
                    "There is no model to serve or to evaluate.",
                    "Train one with `nextclick train`, or promote one.",
                )
        from model.registry.version_weights import load_version

        return load_version(VersionFiles(self._folder(version)))

    def config(self, version: str) -> ModelConfig:
        """The configuration of a version, without its weights. Raises RefusedVersion as `load` does."""
        files = VersionFiles(self._folder(version))
        try:
            return ModelConfig.model_validate_json(files.verified(CONFIG))
        except ValueError as error:
            raise files.corrupt(f"{CONFIG} cannot be read: {error}", UNREADABLE) from error

    def warm_start(self, model: ModelVersion) -> WarmStart:
        """Returns the start of a training that goes on from this version.

        Raises NextclickError when the version has no optimizer state, or an altered one.
        """
        from model.registry.version_weights import optimizer_state
        from model.training.warm_start import WarmStart

        state = optimizer_state(VersionFiles(self._folder(model.version)))
        if state is None:
            raise NextclickError(
                f"version {model.version} has no {OPTIMIZER}",
                f"A training cannot go on from it: {model.config.network} keeps no optimizer state.",
                "Train from the beginning, or name another version.",
            )
        learned = LearnedEvents.of(model.manifest.get("data", {}))
        until_ms = None if learned.until_ms is None else max(learned.until_ms, learned.newest_ms)
        return WarmStart(model.network.state_dict(), state, model.vocabulary, until_ms)

    def versions(self, refused: list[RefusedVersion] | None = None) -> list[dict[str, Any]]:
        """Returns the manifests of all versions, oldest first, each with `scores` and `champion` (a bool).

        Each is under the name of its folder. Appends the error of an unreadable version to `refused`;
        raises RefusedVersion without `refused`.
        """
        try:
            champion = self.champion()
        except NextclickError:
            if refused is None:
                raise
            champion = None
        rows = []
        for folder in sorted(self.root.glob("*")) if self.root.is_dir() else []:
            if folder.is_dir() and not folder.name.startswith(".") and folder.name != REPORTS:
                try:
                    files = VersionFiles(folder)
                    manifest, scores = files.manifest, files.scores()
                except RefusedVersion as error:
                    if refused is None:
                        raise
                    refused.append(error)
                else:
                    row = {**manifest, "version": folder.name, "scores": scores}
                    rows.append({**row, "champion": folder.name == champion})
        return rows

    def champion(self) -> str | None:
        """Returns the version that CHAMPION names, None without a champion."""
        return self.champions.current()

    def promote(self, version: str) -> str | None:
        """Verify a version and make it champion. Returns the champion before it.

        Raises RefusedVersion when the version is absent or altered.
        """
        self.load(version)
        return self.champions.promote(version)

    def succeed(self, version: str, former: str | None) -> bool:
        """Promote a version if CHAMPION still names `former` (None: no champion). Returns whether it did."""
        self.load(version)
        return self.champions.succeed(version, former)

    def go_back(self, version: str, *, instead_of: str) -> bool:
        """Point CHAMPION back at a former champion if it still names `instead_of`. Returns whether it did.

        Raises RefusedVersion when `version` is absent or altered, ValueError when it never was champion.
        """
        self.load(version)
        return self.champions.go_back(version, instead_of)

    def remove_unfinished(self) -> list[str]:
        """Remove the half-written versions of killed processes. Returns their names."""
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
