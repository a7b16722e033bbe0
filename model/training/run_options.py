"""Options of a training run, and its progress. They do not change the data that it learns from.

Tested by tests/unit/model/training/test_checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from model.device import CPU
from model.evaluation.rank_targets import Evaluation
from model.training.checkpoint import CheckpointFile
from model.training.replicas import Replicas


@dataclass(frozen=True)
class Progress:
    """`events` of `total` were learned in epoch `epoch` (from 1) of `epochs`, with mean loss `loss`.

    >>> progress = Progress(epoch=2, epochs=5, events=300, total=1000, loss=3.25)
    >>> progress.done, progress.whole, str(progress)
    (1300, 5000, 'epoch 2/5 loss 3.250')
    """

    epoch: int
    epochs: int
    events: int
    total: int
    loss: float

    @property
    def done(self) -> int:
        """Events learned in all epochs so far."""
        return (self.epoch - 1) * self.total + self.events

    @property
    def whole(self) -> int:
        """Events to learn in all epochs."""
        return self.epochs * self.total

    def __str__(self) -> str:
        return f"epoch {self.epoch}/{self.epochs} loss {self.loss:.3f}"


@dataclass(frozen=True)
class RunOptions:
    """Where a training runs, and its callbacks.

    The training resumes `checkpoint` when its file exists, and rewrites it regularly. `threads` share
    each product: several are faster on idle cores, but many times slower beside another busy process,
    since all threads wait for the slowest. Networks that learn by gradients do so on `device`, and lie on
    the CPU afterwards; all else counts on the CPU. `after_epoch` gets (epoch, from 1; its validation).

    >>> RunOptions().replicas.count
    1
    """

    checkpoint: CheckpointFile | None = None
    replicas: Replicas = field(default_factory=Replicas)
    threads: int = 1
    after_epoch: Callable[[int, Evaluation], None] = lambda epoch, scored: None
    progress: Callable[[Progress], None] = lambda _: None
    device: torch.device = CPU
