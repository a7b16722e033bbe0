"""The memory of this process: its peak, what it may still take, and how glibc treats freed blocks.

A training batch frees and allocates the same few buffers thousands of times a second. By default
glibc returns blocks of this size to the system, and the kernel clears every new block page by page:
a quarter of the training time on 2 cores.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Keeping larger blocks would leave holes that the next, slightly larger block does not fit into.
LARGEST_KEPT_BYTES = 4 << 20
KEPT_BYTES = 256 << 20


def peak_memory_bytes() -> int:
    """Returns the most memory that this process has held.

    >>> peak_memory_bytes() > 1 << 20
    True
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else 1024 * peak)


def available_memory_bytes(root: Path = Path("/")) -> int:
    """Returns the memory that this process can still take: of the machine, and of its control group.

    Files that the kernel has cached count as free, since it gives them up. `root` is the folder that
    has proc and sys.

    >>> available_memory_bytes() > 1 << 20
    True
    """
    free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    memory = _numbers(root / "proc/meminfo")
    if "MemAvailable:" in memory:
        free.append(1024 * memory["MemAvailable:"])
    for folder, most, used in (
        ("sys/fs/cgroup", "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            limit = int((root / folder / most).read_text())
            held = int((root / folder / used).read_text())
        except (OSError, ValueError):
            # No such group, or one without a limit ("max").
            continue
        statistics = _numbers(root / folder / "memory.stat")
        cached = statistics.get("inactive_file", 0) + statistics.get("active_file", 0)
        free.append(limit - held + cached)
    return max(0, min(free))


def _numbers(path: Path) -> dict[str, int]:
    """The first number of each line of a file of the kernel, by the line's first word."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def release_freed_memory() -> None:
    """Return freed memory to the system; called before a large allocation."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> None:
    """Raise glibc's thresholds for this process. Does nothing with another C library."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
