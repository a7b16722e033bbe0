"""A device "emu" with real numbers and autograd on a CPU: it raises where CUDA would, and counts waits.

Tensors of the device wrap tensors of the CPU. An operation that mixes both raises as CUDA does; copies
between them, and answers for which the processor waits, are counted by the line of the project that
asked. It tests where tensors lie, not kernels, memory, streams or speed.

Importing this module changes torch for the whole process: use it in a process of its own, before the
project is imported.
"""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("emu")
# Wrapped tensors know no inference mode.
torch.inference_mode = torch.no_grad  # type: ignore[misc, assignment]

DEVICE = torch.device("emu:0")
ROOT = str(Path(__file__).parent.parent.parent) + "/"
aten = torch.ops.aten
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
# Operations that take tensors of both devices.
MIXED = INDEXED | {
    aten.copy_.default, aten._to_copy.default, aten._copy_from.default, aten._copy_from_and_resize.default,
}  # fmt: skip
# Operations whose answer the processor waits for.
ANSWERED = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default,
    aten._unique2.default, aten.unique_dim.default, aten.is_nonzero.default, aten.item.default,
    aten.equal.default,
}  # fmt: skip
# (what, file:line) → how often.
waits: Counter[tuple[str, str]] = Counter()


class EmulatedTensor(Tensor):
    """A tensor of the device; `elem` has its numbers."""

    elem: Tensor
    __torch_function__: ClassVar[Any] = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: Any, elem: Tensor) -> Any:
        made = Tensor._make_wrapper_subclass(
            cls, elem.shape, strides=elem.stride(), storage_offset=elem.storage_offset(), dtype=elem.dtype,
            layout=elem.layout, device=DEVICE, requires_grad=False,
        )  # fmt: skip
        made.elem = elem
        return made

    def _set_data(self, other: Any) -> None:
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.elem = other.elem

    data = property(Tensor.data.__get__, _set_data)  # type: ignore[attr-defined]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class EmulatedDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context in which tensors can be made on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _line() -> str:
    """The line of the project that asked."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(ROOT) and frame.filename != __file__:
            return f"{frame.filename[len(ROOT) :]}:{frame.lineno}"
    return "?"


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    tensors = [value for value in flat if isinstance(value, Tensor)]
    emulated = [tensor for tensor in tensors if isinstance(tensor, EmulatedTensor)]
    device = kwargs.get("device")
    is_to_device = device is not None and torch.device(device).type == "emu"
    if not emulated and not is_to_device:
        return func(*args, **kwargs)
    _refuse_mixtures(func, args, tensors, emulated)
    _count_waits(func, args, device, emulated, is_to_device=is_to_device)

    def bare(value: Any) -> Any:
        return value.elem if isinstance(value, EmulatedTensor) else value

    bare_args, bare_kwargs = tree_map(bare, (args, dict(kwargs)))
    is_wrapped = bool(emulated) or is_to_device
    if device is not None:
        is_wrapped = is_to_device
        if is_to_device:
            bare_kwargs["device"] = torch.device("cpu")
    if bare_kwargs.get("pin_memory"):
        bare_kwargs["pin_memory"] = False
    if func is aten.copy_.default and not isinstance(args[0], EmulatedTensor):
        is_wrapped = False
    result = KERNELS.get(func, func)(*bare_args, **bare_kwargs)
    if (
        func is aten._to_copy.default
        and is_wrapped
        and any(result is one for one in tree_flatten(bare_args)[0])
    ):
        result = result.clone()

    def wrapped(value: Any) -> Any:
        return EmulatedTensor(value) if isinstance(value, Tensor) and is_wrapped else value

    result = tree_map(wrapped, result)
    if not is_wrapped or func is aten._to_copy.default:
        return args[0] if func is aten.copy_.default else result
    schema = func._schema
    if schema.is_mutable and len(schema.returns) == 1 and schema.returns[0].alias_info is not None:
        changed = [
            place
            for place, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        return args[changed[0]] if changed[0] < len(args) else result
    return result


def _refuse_mixtures(func: Any, args: Any, tensors: list[Any], emulated: list[Any]) -> None:
    others = [one for one in tensors if not isinstance(one, EmulatedTensor) and one.dim() > 0]
    if emulated and others and func not in MIXED:
        raise RuntimeError(f"{func}: found at least two devices, emu:0 and cpu, at {_line()}")
    if func in INDEXED:
        if not isinstance(args[0], EmulatedTensor):
            raise RuntimeError(f"{func}: a tensor of the CPU with indices of the device at {_line()}")
        value = args[2] if len(args) > 2 else None
        if isinstance(value, Tensor) and not isinstance(value, EmulatedTensor) and value.dim() > 0:
            raise RuntimeError(f"{func}: values of the CPU into a tensor of the device at {_line()}")


def _count_waits(func: Any, args: Any, device: Any, emulated: list[Any], *, is_to_device: bool) -> None:
    if func in INDEXED:
        for index in args[1]:
            if index is not None and index.dtype == torch.bool:
                waits["bool index", _line()] += 1
            elif index is not None and not isinstance(index, EmulatedTensor):
                waits["index from host", _line()] += 1
    if func in ANSWERED and emulated:
        waits["answer", _line()] += 1
    if func is aten._to_copy.default and is_to_device and not emulated:
        waits["to device", _line()] += 1
    elif func is aten._to_copy.default and emulated and device is not None and not is_to_device:
        waits["to host", _line()] += 1
    if func is aten.copy_.default and len(emulated) == 1:
        waits["copy", _line()] += 1


def _gru(gates: Tensor, hidden_gates: Tensor, hidden: Tensor, *bias: Tensor | None) -> Any:
    if bias and bias[0] is not None and bias[1] is not None:
        gates, hidden_gates = gates + bias[0], hidden_gates + bias[1]
    (gate_r, gate_z, gate_n), (hidden_r, hidden_z, hidden_n) = gates.chunk(3, 1), hidden_gates.chunk(3, 1)
    reset, update = torch.sigmoid(gate_r + hidden_r), torch.sigmoid(gate_z + hidden_z)
    new = torch.tanh(gate_n + reset * hidden_n)
    return new + update * (hidden - new), torch.cat([reset, update, new, hidden, hidden_n], 1)


def _gru_backward(gradient: Tensor, workspace: Tensor, has_bias: bool) -> Any:
    reset, update, new, hidden, hidden_n = workspace.chunk(5, 1)
    of_new = gradient * (1 - update) * (1 - new * new)
    of_update = gradient * (hidden - new) * update * (1 - update)
    of_reset = of_new * hidden_n * reset * (1 - reset)
    inputs = torch.cat([of_reset, of_update, of_new], 1)
    hiddens = torch.cat([of_reset, of_update, of_new * reset], 1)
    biases = (inputs.sum(0), hiddens.sum(0)) if has_bias else (torch.empty(0), torch.empty(0))
    return inputs, hiddens, gradient * update, *biases


def _lstm(gates: Tensor, hidden_gates: Tensor, cell: Tensor, *bias: Tensor | None) -> Any:
    gates = gates + hidden_gates
    if bias and bias[0] is not None and bias[1] is not None:
        gates = gates + bias[0] + bias[1]
    gate_i, gate_f, gate_g, gate_o = gates.chunk(4, 1)
    i, f, o = torch.sigmoid(gate_i), torch.sigmoid(gate_f), torch.sigmoid(gate_o)
    g = torch.tanh(gate_g)
    new = f * cell + i * g
    return o * torch.tanh(new), new, torch.cat([i, f, g, o], 1)


def _lstm_backward(
    of_hidden: Tensor | None,
    of_cell: Tensor | None,
    cell: Tensor,
    new: Tensor,
    workspace: Tensor,
    has_bias: bool,
) -> Any:
    i, f, g, o = workspace.chunk(4, 1)
    bent = torch.tanh(new)
    of_new, of_o = torch.zeros_like(new), torch.zeros_like(o)
    if of_cell is not None:
        of_new = of_new + of_cell
    if of_hidden is not None:
        of_new, of_o = of_new + of_hidden * o * (1 - bent * bent), of_hidden * bent * o * (1 - o)
    parts = [of_new * g * i * (1 - i), of_new * cell * f * (1 - f), of_new * i * (1 - g * g), of_o]
    gates = torch.cat(parts, 1)
    return gates, of_new * f, gates.sum(0) if has_bias else torch.empty(0)


# What CUDA computes by kernels that the CPU lacks.
KERNELS: dict[Any, Any] = {
    aten._thnn_fused_gru_cell.default: _gru,
    aten._thnn_fused_gru_cell_backward.default: _gru_backward,
    aten._thnn_fused_lstm_cell.default: _lstm,
    aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_backward,
}
