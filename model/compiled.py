"""Compiling of hot loops by numba, the same way everywhere: without the interpreter's lock, kept on disk.

Tested by tests/unit/model/stepping/test_shortlist.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function at its first call. Sums may run in another order, the same at every call.

    >>> compiled(lambda x: x + 1)(2)
    3
    """
    compile = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
    return cast(F, compile(function))
