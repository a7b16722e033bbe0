"""The head of a safetensors file: what it declares of each tensor, checked before memory is taken.

Tested by tests/unit/model/registry/test_hostile_versions.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

MOST_HEADER_BYTES = 4 << 20
LENGTH_BYTES = 8
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class DeclaredTensor(NamedTuple):
    """The shape and the type of a tensor; a type of None is none that a network has."""

    shape: tuple[int, ...]
    dtype: torch.dtype | None

    def __str__(self) -> str:
        return f"{self.shape} {str(self.dtype).removeprefix('torch.')}"


class WeightsHead(NamedTuple):
    """The tensors that a file declares, and the size that the whole file has to have."""

    tensors: dict[str, DeclaredTensor]
    file_bytes: int


def read_head(start: bytes, file_bytes: int) -> WeightsHead:
    """Read the head of a file of `file_bytes` bytes from its first bytes. Raises ValueError.

    This function bounds the head's size; safetensors checks that the tensors do not overlap.

    >>> import torch
    >>> from safetensors.torch import save
    >>> content = save({"bias": torch.zeros(4)})
    >>> head = read_head(content, len(content))
    >>> head.tensors["bias"].shape, head.file_bytes == len(content)
    ((4,), True)
    """
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or length > min(MOST_HEADER_BYTES, file_bytes - LENGTH_BYTES):
        raise ValueError(f"its head is said to have {length:,} bytes")
    head = json.loads(start[LENGTH_BYTES : LENGTH_BYTES + length])
    if not isinstance(head, dict):
        raise ValueError("its head is no object")
    tensors: dict[str, DeclaredTensor] = {}
    end = 0
    for name, declared in head.items():
        if name == "__metadata__":
            continue
        fields = declared if isinstance(declared, dict) else {}
        shape, offsets, dtype = fields.get("shape"), fields.get("data_offsets"), fields.get("dtype")
        if not isinstance(shape, list) or not _are_counts(shape):
            raise ValueError(f"the shape of {name[:100]!r} is none")
        if not isinstance(offsets, list) or not _are_counts(offsets) or len(offsets) != 2:
            raise ValueError(f"the place of {name[:100]!r} is none")
        tensors[name] = DeclaredTensor(tuple(shape), DTYPES.get(dtype) if isinstance(dtype, str) else None)
        end = max(end, offsets[1])
    return WeightsHead(tensors, LENGTH_BYTES + length + end)


def _are_counts(values: list[object]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def difference(
    declared: Mapping[str, DeclaredTensor],
    expected: Mapping[str, Tensor],
    *,
    any_size: tuple[str, ...] = (),
    may_lack: tuple[str, ...] = (),
) -> str:
    """Returns the first difference between the declared and the expected tensors, "" without difference.

    Of tensors whose name begins with one of `any_size` only the number of dimensions and the type count;
    one of `may_lack` need not be there.

    >>> import torch
    >>> difference({"bias": DeclaredTensor((4,), torch.int64)}, {"bias": torch.zeros(4)})
    "'bias' is (4,) int64, not (4,) float32"
    """
    wanted = {name: DeclaredTensor(tuple(t.shape), t.dtype) for name, t in expected.items()}
    for name in sorted(declared.keys() | wanted.keys()):
        there, want = declared.get(name), wanted.get(name)
        same = there == want or (there is None and name.startswith(may_lack))
        if there is not None and want is not None and name.startswith(any_size):
            same = len(there.shape) == len(want.shape) and there.dtype == want.dtype
        if not same:
            return f"{name[:100]!r} is {there or 'not there'}, not {want or 'there'}"
    return ""


def bytes_of(tensors: Mapping[str, Tensor]) -> int:
    """Returns the bytes that these tensors take, or would take on another device than "meta"."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
