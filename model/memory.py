"""The memory of this process: its peak, and keeping what is freed.

A training batch frees and allocates the same few buffers thousands of times a second.
glibc returns blocks of that size to the system by default, and every new one is cleared
page by page: on 2 cores that was a quarter of the training time.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Larger blocks would leave holes that the next one, a little larger, does not fit into.
LARGEST_KEPT_BYTES = 4 << 20
KEPT_BYTES = 256 << 20


def peak_memory_bytes() -> int:
    """The most that this process has had in memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else 1024 * peak)


def release_freed_memory() -> None:
    """Give freed memory back to the system now, before something large is made."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> None:
    """Raise glibc's thresholds for this process; another C library is left as it is."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
