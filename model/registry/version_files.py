"""Reads the files of a model version as if a stranger had written them.

A regular file of its own folder and of a bounded size, or nothing: no link leads out of the
registry, no pipe keeps the reader waiting, no file fills the memory. What a weights file declares
is looked at before anything is made of it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

VERSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
MIB = 1 << 20
# Far above what a version needs; the vocabulary and the weights grow with the items.
MOST_BYTES = {
    "manifest.json": MIB,
    "config.json": MIB,
    "scores.json": 64 * MIB,
    "vocabulary.json": 8 << 30,
    "weights.safetensors": 64 << 30,
    "optimizer.safetensors": 128 << 30,
}
MOST_HEADER_BYTES = 4 * MIB

Shapes = dict[str, tuple[int, ...]]


def read_file(path: Path) -> bytes:
    """The content of one of a version's files. Raises OSError, also for a file that is none or too large."""
    most = MOST_BYTES[path.name]
    # Without O_NONBLOCK a pipe would be waited for here.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no regular file")
        if found.st_size > most:
            raise OSError(f"it has {found.st_size:,} bytes, more than {most:,}")
        return file.read(found.st_size)


def declared_shapes(weights: bytes) -> Shapes:
    """The shape of each tensor as the head of a safetensors file says. Raises ValueError.

    The head is bounded here; that it fits the rest of the file is safetensors' to see.
    """
    length = int.from_bytes(weights[:8], "little")
    if len(weights) < 8 or length > min(MOST_HEADER_BYTES, len(weights) - 8):
        raise ValueError(f"its head is said to have {length:,} bytes")
    head = json.loads(weights[8 : 8 + length])
    if not isinstance(head, dict):
        raise ValueError("its head is no object")
    shapes: Shapes = {}
    for name, declared in head.items():
        if name == "__metadata__":
            continue
        shape = declared.get("shape") if isinstance(declared, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"the shape of {name[:100]!r} is none")
        shapes[name] = tuple(shape)
    return shapes


def shape_difference(declared: Shapes, expected: Mapping[str, Tensor], *, sizes: bool = True) -> str:
    """What tells the declared tensors from the expected ones, "" for nothing.

    Without `sizes` only their names and numbers of dimensions are compared.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    for name in sorted(declared.keys() | wanted.keys()):
        there, shape = declared.get(name), wanted.get(name)
        same = there == shape if sizes or there is None or shape is None else len(there) == len(shape)
        if not same:
            return f"{name[:100]!r} is {declared.get(name, 'not there')}, not {wanted.get(name, 'there')}"
    return ""
