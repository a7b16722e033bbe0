"""The setting of how many processes one worker command runs, and the processors that there are.

Tested by tests/unit/stream/processes/test_children.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

AUTO = "auto"
CPU_SHARE = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """The number of processors that this process may use; of a container's share, its whole ones."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_SHARE.read_text().split()
        return min(allowed, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        # No control group, or no limit ("max").
        return allowed


class ProcessSettings(BaseModel):
    """The setting of a worker's processes.

    >>> ProcessSettings(processes="2").processes
    2
    """

    processes: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        1,
        description="of one worker, with partitions of their own; auto: one a core",
    )
