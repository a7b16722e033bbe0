"""The device that is compared with the CPU: the emulated one, or the one that NEXTCLICK_TEST_DEVICE names.

`waits` counts the copies and answers of the emulated one, and stays empty for any other. Import this before
the project: the emulated device changes torch.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import AbstractContextManager, nullcontext

import torch

VARIABLE = "NEXTCLICK_TEST_DEVICE"

if name := os.environ.get(VARIABLE):
    DEVICE = torch.device(name)
    waits: Counter[tuple[str, str]] = Counter()

    def on_device() -> AbstractContextManager[object]:
        """Nothing has to be set up."""
        return nullcontext()

else:
    from tests.harness import emulated_device

    DEVICE, waits = emulated_device.DEVICE, emulated_device.waits

    def on_device() -> AbstractContextManager[object]:
        """Where tensors can be made on the device."""
        return emulated_device.EmulatedDevice()  # type: ignore[no-untyped-call]
