"""A training that was interrupted, on disk: one file, written whole or not at all, no pickle.

It holds all that the next batch depends on, so that a training that goes on from it ends
at the same weights, bit for bit. A fingerprint of configuration and data keeps it from
being taken up by another training.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError

EVERY_BATCHES = 20_000


def fingerprint(
    sessions: Sessions,
    vocabulary: Vocabulary,
    config: ModelConfig,
    *,
    start: str | None = None,
    processes: int = 1,
) -> str:
    """Names a training by everything that decides its weights: 16 hexadecimal digits.

    `start` is the version that it goes on from.
    """
    digest = hashlib.sha256(f"{config.model_dump_json()} {start} {processes}".encode())
    columns = (column for _, column in sorted(sessions.columns.items()))
    digest.update(repr(sorted(vocabulary.titles.items())).encode())
    for array in (sessions.offsets, sessions.items, sessions.times_ms, vocabulary.counts, *columns):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors and plain values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


class CheckpointFile:
    """Where a training keeps its last checkpoint. `fingerprint` says whose it is."""

    def __init__(self, path: Path, fingerprint: str, every_batches: int = EVERY_BATCHES) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.every_batches = every_batches
        self._unfinished = path.with_name(f"{path.name}.unfinished")

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the file, durably."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"fingerprint": self.fingerprint, "values": json.dumps(checkpoint.values)}
        save_file(
            {name: t.contiguous() for name, t in checkpoint.tensors.items()}, self._unfinished, metadata
        )
        with self._unfinished.open("rb") as file:
            os.fsync(file.fileno())
        self._unfinished.replace(self.path)

    def load(self) -> Checkpoint | None:
        """The last checkpoint, None when there is none. Raises NextclickError for a broken or foreign one."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                values = json.loads(metadata["values"])
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise NextclickError(
                f"the checkpoint {self.path} cannot be read: {error}",
                "The training cannot go on from it.",
                "Remove it to train from the beginning.",
            ) from error
        if metadata.get("fingerprint") != self.fingerprint:
            raise NextclickError(
                f"the checkpoint {self.path} is of training {metadata.get('fingerprint')}, "
                f"this one is {self.fingerprint}",
                "Another configuration or other data would not end at the same weights.",
                "Name another checkpoint, or remove this one.",
            )
        return Checkpoint(tensors, values)

    def remove(self) -> None:
        """Take the file away, when the training is done, and what a killed process left half-written."""
        self.path.unlink(missing_ok=True)
        self._unfinished.unlink(missing_ok=True)
