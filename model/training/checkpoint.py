"""The checkpoint of an interrupted training: one file, replaced atomically, without pickle.

The file holds everything that the next batch depends on, so a resumed training ends at the same
weights, bit for bit. A fingerprint of configuration and data keeps other trainings from resuming it.
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
    """Returns 16 hexadecimal digits that identify a training by everything that decides its weights.

    `start` is the version that the training goes on from.

    >>> session = Sessions(np.array([0, 2]), np.array([0, 1]), np.array([5, 9]), np.array(["s"]))
    >>> vocabulary = Vocabulary(["a", "b"], np.array([1, 1]))
    >>> one, two = (fingerprint(session, vocabulary, ModelConfig(seed=seed)) for seed in (1, 2))
    >>> len(one), one == two
    (16, False)
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
    """The file of a training's last checkpoint. `fingerprint` identifies the training.

    >>> CheckpointFile(Path("no-such-file"), "0123456789abcdef").load() is None
    True
    """

    def __init__(self, path: Path, fingerprint: str, every_batches: int = EVERY_BATCHES) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.every_batches = every_batches
        self._unfinished = path.with_name(f"{path.name}.unfinished")

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the file atomically and durably."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"fingerprint": self.fingerprint, "values": json.dumps(checkpoint.values)}
        save_file(
            {name: t.cpu().contiguous() for name, t in checkpoint.tensors.items()}, self._unfinished, metadata
        )
        with self._unfinished.open("rb") as file:
            os.fsync(file.fileno())
        self._unfinished.replace(self.path)

    def load(self) -> Checkpoint | None:
        """Returns the last checkpoint, None without a file.

        Raises NextclickError when the file is broken, or belongs to another training.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                values = json.loads(metadata["values"])
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
        except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
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

    def of_part(self, name: str) -> CheckpointFile:
        """The checkpoint of a part of the training, beside this one."""
        return CheckpointFile(
            self.path.with_name(f"{self.path.name}.{name}"), f"{self.fingerprint}-{name}", self.every_batches
        )

    def remove(self) -> None:
        """Remove the file after the training, and the unfinished file of a killed process."""
        self.path.unlink(missing_ok=True)
        self._unfinished.unlink(missing_ok=True)
