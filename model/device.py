"""The device that a network is trained, evaluated or served on, found by its name before any work.

Tested by tests/unit/model/test_device.py.
"""

from __future__ import annotations

import os

import torch

from model.errors import NextclickError

CPU = torch.device("cpu")


def choose_device(name: str) -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:1", or "auto", which is CUDA where there is a GPU.

    Among processes of torchrun each takes the GPU of its own number, unless one is named. Raises
    NextclickError when the GPU is not there.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    device = torch.device(name)
    if device.type != "cuda":
        return device
    if not count:
        raise NextclickError(
            f"device is {name}, and this machine has no GPU that torch can use",
            "There is none, or its driver is missing or older than torch needs; nothing was done.",
            "Look at `nvidia-smi`, or set device (NEXTCLICK_DEVICE) to cpu or auto.",
        )
    if device.index is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % count)
    if (device.index or 0) >= count:
        raise NextclickError(
            f"device is {name}, and this machine has {count} GPU{'s' if count > 1 else ''}",
            "GPUs are numbered from 0; nothing was done.",
            f"Set device (NEXTCLICK_DEVICE) to cuda:{count - 1}, or to auto.",
        )
    return device
