"""The memory of this process: its peak, and how glibc treats freed blocks.

A training batch frees and allocates the same few buffers thousands of times a second. By default
glibc returns blocks of this size to the system, and the kernel clears every new block page by page:
a quarter of the training time on 2 cores.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import sys

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
