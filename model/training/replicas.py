"""Processes that train one network together (torchrun): each trains on a share of the sessions.

All processes begin with the same weights and apply the same summed gradients, so their weights stay
equal. Table gradients travel as rows; DistributedDataParallel would send whole tables.

Tested by tests/learning/test_learning.py.

Shapes: N rows of this process, H columns.
"""

from __future__ import annotations

import os
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from model.data.sessions import Sessions
from model.device import CPU

T = TypeVar("T")


class Replicas:
    """This process among `count`. Without torchrun `count` is 1, and no method communicates.

    >>> Replicas().total(2.5)
    2.5
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count

    @classmethod
    def join(cls, device: torch.device) -> Replicas:
        """Join the other processes of torchrun, if any: by gloo, between GPUs by NCCL."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        # Sizes and losses are on the CPU, whatever the device.
        dist.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl")
        return cls(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        """Wait for the other processes, then leave the group."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()

    def share(self, sessions: Sessions) -> Sessions:
        """Returns every `count`-th session of at least two events, so that all shares are equally recent."""
        if self.count == 1:
            return sessions
        return sessions.select((sessions.lengths >= 2).nonzero()[0][self.rank :: self.count])

    def told_by(self, rank: int, value: T) -> T:
        """Returns what the process of this rank passes; what the others pass is not looked at."""
        if self.count == 1:
            return value
        told = [value if rank == self.rank else None]
        dist.broadcast_object_list(told, src=rank, device=CPU)
        return cast(T, told[0])

    def total(self, number: float) -> float:
        """Returns the sum over all processes."""
        if self.count == 1:
            return number
        tensor = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor)

    def add_up(self, gradients: list[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; its shape is the same in all of them."""
        if self.count == 1 or not gradients:
            return
        together = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(together)
        for gradient, part in zip(
            gradients, torch.split(together, [g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def collect(self, rows_N: Tensor, *gradients: Tensor) -> list[Tensor]:
        """Returns the rows and gradients of all processes, concatenated; processes may differ in rows."""
        if self.count == 1:
            return [rows_N, *gradients]
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([len(rows_N)]))
        longest = int(max(sizes))
        return [
            torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])
            for parts in (self._gather(tensor, longest) for tensor in (rows_N, *gradients))
        ]

    def _gather(self, tensor: Tensor, longest: int) -> list[Tensor]:
        padded = tensor.new_zeros((longest, *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(parts, padded)
        return parts
