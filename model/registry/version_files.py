"""The files of a model version, read as untrusted input: each against its size and its hash.

Whatever goes wrong refuses the version. Knows no tensor (version_weights does), so that what only lists
versions starts without torch.

Tested by tests/unit/model/registry/test_hostile_versions.py.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from model.errors import NextclickError
from model.registry.bounded_files import read_bounded
from model.registry.manifest import read_manifest, read_scores

WEIGHTS, CONFIG, VOCABULARY, SCORES = "weights.safetensors", "config.json", "vocabulary.json", "scores.json"
OPTIMIZER = "optimizer.safetensors"
MANIFEST = "manifest.json"
# Reasons to refuse a version.
UNKNOWN, CHECKSUM, UNREADABLE, MISMATCH, NOT_FINITE, MEMORY, UNPUBLISHABLE = REFUSALS = (
    "unknown",
    "checksum",
    "unreadable",
    "mismatch",
    "not_finite",
    "memory",
    "unpublishable",
)
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


class RefusedVersion(NextclickError):
    """A version that must not serve; `reason` is one of REFUSALS."""

    def __init__(self, reason: str, what: str, meaning: str, remedy: str) -> None:
        super().__init__(what, meaning, remedy)
        self.reason = reason


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
            manifest = read_manifest(read_bounded(self.folder / MANIFEST, MOST_BYTES[MANIFEST]))
        except (OSError, ValueError) as error:
            raise self.corrupt(f"{MANIFEST} cannot be read: {error}", UNREADABLE) from error
        missing = {WEIGHTS, CONFIG, VOCABULARY, SCORES} - manifest["sha256"].keys()
        if missing:
            raise self.corrupt(f"{MANIFEST} has no hash of {', '.join(sorted(missing))}", UNREADABLE)
        return manifest

    def scores(self) -> dict[str, Any]:
        """Returns the measured qualities."""
        try:
            return read_scores(self.verified(SCORES))
        except ValueError as error:
            raise self.corrupt(f"{SCORES} cannot be read: {error}", UNREADABLE) from error

    def verified(self, name: str) -> bytes:
        """Returns the content of a file that the manifest names, after checking its SHA-256."""
        try:
            content = read_bounded(self.folder / name, MOST_BYTES[name])
        except OSError as error:
            raise self.corrupt(f"{name} cannot be read: {error}", UNREADABLE) from error
        if hashlib.sha256(content).hexdigest() != self.manifest["sha256"][name]:
            raise self.corrupt(f"{name} ({len(content)} bytes) does not match its SHA-256", CHECKSUM)
        return content

    def corrupt(self, what: str, reason: str) -> RefusedVersion:
        """Returns the error of a version that must not serve."""
        return RefusedVersion(
            reason,
            f"model version {self.folder.name} in {self.folder.parent} is corrupt: {what}",
            "It is not loaded; whatever served before goes on.",
            "Promote another version, or train again.",
        )


def described(error: BaseException) -> str:
    """Returns an error's type and its first 300 characters: it may quote the file.

    >>> described(KeyError("counts"))
    "KeyError: 'counts'"
    """
    return f"{type(error).__name__}: {str(error)[:300]}".removesuffix(": ")
