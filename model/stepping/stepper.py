"""Takes the step of a wave: packed states and columns in, lists and packed states out.

The same code serves the stream and the offline evaluation, so that their lists agree.

Shapes: B sessions in the wave, k list length, M masked items, R bytes of a packed state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import Scoring
from model.errors import NextclickError
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork, Network, State
from model.networks.popularity_prior import CurrentBias
from model.stepping.faiss_shortlists import ApproximateShortlist, NearestShortlist
from model.stepping.read_write_lock import ReadWriteLock
from model.stepping.shortlist import Bfloat16Shortlist, Shortlist
from model.stepping.top_k import top_of

# Below as many items the product is too small a part of a step.
LARGE_VOCABULARY = 20_000
# Above as many items their nearest are looked for in a graph.
MANY_DIRECTIONS = 100_000
NumpyColumns = Mapping[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.uint8]


class StateLayout:
    """How a network's named state tensors lie in the `row_bytes` bytes of a session."""

    def __init__(self, network: Network) -> None:
        self._fields = network.state_fields()
        self._sizes = [
            int(np.prod(f.shape, dtype=np.int64)) * torch.empty(0, dtype=f.dtype).element_size()
            for f in self._fields
        ]
        self.row_bytes = sum(self._sizes)

    def pack(self, state: State, sessions: int) -> Rows:
        """State of `sessions` sessions → uint8, B×row_bytes."""
        if not self._fields:
            return np.zeros((sessions, 0), np.uint8)
        parts = [state[f.name].contiguous().cpu().flatten(1).view(torch.uint8).numpy() for f in self._fields]
        return parts[0] if len(parts) == 1 else np.ascontiguousarray(np.concatenate(parts, axis=1))

    def unpack(self, rows: Rows) -> State:
        """uint8, B×row_bytes → state of B sessions, on the CPU."""
        if rows.shape[1] != self.row_bytes:
            raise ValueError(
                f"a packed state has {rows.shape[1]} bytes, this network's have {self.row_bytes}"
            )
        state: State = {}
        at = 0
        for f, size in zip(self._fields, self._sizes, strict=True):
            part = np.array(rows[:, at : at + size])
            state[f.name] = torch.from_numpy(part).view(f.dtype).reshape(-1, *f.shape)
            at += size
        return state


def choose_device(device: str) -> torch.device:
    """ "auto" → CUDA if there, else the CPU; any other name as it is."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def make_shortlist(scoring: Scoring, network: Network, device: torch.device) -> Shortlist | None:
    """What chooses the items to score, None for all of them.

    "bfloat16" is for a CPU and a network with an item table; without these all items are scored.
    "auto" is "bfloat16" where the processor has instructions for it and the vocabulary is large
    enough to gain by it; "approximate" where items are found by their direction, there are more than
    100,000 of them, and faiss is installed. Raises NextclickError when "approximate" cannot be had.
    """
    by_direction = isinstance(network, GradientNetwork) and network.scores_by_direction
    if scoring == "auto" and by_direction and network.items > MANY_DIRECTIONS and find_spec("faiss"):
        scoring = "approximate" if device.type == "cpu" else "exact"
    elif scoring == "auto":
        large = network.items >= LARGE_VOCABULARY
        scoring = "bfloat16" if large and torch.cpu._is_avx512_bf16_supported() else "exact"  # noqa: SLF001
    if scoring == "exact":
        return None
    if isinstance(network, GradientNetwork) and device.type == "cpu":
        if scoring == "bfloat16":
            return Bfloat16Shortlist(network)
        return NearestShortlist(network) if by_direction else ApproximateShortlist(network)
    if scoring == "approximate":
        raise NextclickError(
            f"scoring is `approximate`, and the model is a {type(network).__name__} on {device.type}",
            "Only a network that scores items by an output table can be searched, and on a CPU.",
            "Set scoring to `exact`, or device to `cpu`, or serve another version.",
        )
    return None


class Stepper:
    """Steps waves of sessions with one model on one device; the model's weights stand still.

    Whoever moves the item tables all the same holds `lock` for writing: a step reads one state of them.

    `scoring` says how the items to be scored are found, or is a shortlist itself.

    `deterministic` runs every wave padded to `wave_size` rows (larger ones in parts), so
    that a session's numbers do not depend on how many others are in the wave.
    """

    def __init__(
        self,
        model: ModelVersion,
        *,
        device: str = "auto",
        k: int = 20,
        wave_size: int = 64,
        deterministic: bool = False,
        scoring: Scoring | Shortlist = "auto",
    ) -> None:
        self.k = k
        self.wave_size = wave_size
        self.deterministic = deterministic
        self.device = choose_device(device)
        self.lock = ReadWriteLock()
        self.network = model.network.to(self.device).eval()
        self.layout = StateLayout(self.network)
        self._features = model.vocabulary.features
        self._raw_columns = [name for name in self.network.columns if name != "item"]
        self.shortlist = (
            scoring
            if isinstance(scoring, Shortlist)
            # Not by the processor that happens to be there, where every byte counts.
            else make_shortlist(
                "exact" if deterministic and scoring == "auto" else scoring, self.network, self.device
            )
        )
        self._bias = None
        if isinstance(self.network, GradientNetwork):
            bias_V = self.network.get_parameter(self.network.bias_table)
            self._bias = CurrentBias(bias_V, self.network.prior)

    def initial_rows(self, sessions: int) -> Rows:
        """Packed states of sessions without events."""
        return self.layout.pack(self.network.initial_state(sessions), sessions)

    @torch.inference_mode()
    def step(
        self,
        columns: NumpyColumns,
        rows: Rows,
        exclude: npt.NDArray[np.int64] | None = None,
        *,
        k: int | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], Rows]:
        """One step of B sessions: → item indices B×k, best first, their scores, and the packed states after.

        `exclude` holds item indices not to be listed, B×M, padded with -1. Rows with fewer
        than k listable items end in -1 / -inf. `k` is another length than the stepper's own.
        """
        sessions = len(rows)
        if self.deterministic and sessions != self.wave_size:
            return self._step_padded(columns, rows, exclude, k)
        state = self._to_device(self.layout.unpack(rows))
        masked = None if exclude is None else torch.from_numpy(exclude).to(self.device)
        with self.lock.reading():
            output_BH, state = self.network.advance(self.inputs(columns), state)
            ids_Bk, scores_Bk = self._list(output_BH, masked, k)
        return ids_Bk.cpu().numpy(), scores_Bk.float().cpu().numpy(), self.layout.pack(state, sessions)

    @torch.inference_mode()
    def advance(self, columns: NumpyColumns, rows: Rows) -> Rows:
        """One step of B sessions without scoring: → the packed states after, as `step` gives them."""
        if self.deterministic and len(rows) != self.wave_size:
            parts = []
            for chosen, real in self._padded_parts(len(rows)):
                part = {name: column[chosen] for name, column in columns.items()}
                parts.append(self.advance(part, rows[chosen])[:real])
            return np.concatenate(parts)
        state = self._to_device(self.layout.unpack(rows))
        with self.lock.reading():
            _, state = self.network.advance(self.inputs(columns), state)
        return self.layout.pack(state, len(rows))

    def _padded_parts(self, sessions: int) -> Iterator[tuple[npt.NDArray[np.int64], int]]:
        """Parts of exactly `wave_size` rows, the padding repeating the last row, and how many are real."""
        for start in range(0, sessions, self.wave_size):
            chosen = np.minimum(np.arange(start, start + self.wave_size), sessions - 1)
            yield chosen, min(self.wave_size, sessions - start)

    def _list(
        self, output_BH: Tensor, exclude_BM: Tensor | None, k: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The k best listable items and their scores."""
        k = k or self.k
        if self.shortlist is not None:
            return self.shortlist.best(output_BH, k, exclude_BM)
        if isinstance(self.network, GradientNetwork) and self._bias is not None:
            return top_of(self.network.score(output_BH, self._bias.now()), k, exclude_BM)
        return top_of(self.network.score(output_BH), k, exclude_BM)

    def _step_padded(
        self, columns: NumpyColumns, rows: Rows, exclude: npt.NDArray[np.int64] | None, k: int | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], Rows]:
        parts = []
        for chosen, real in self._padded_parts(len(rows)):
            part = self.step(
                {name: column[chosen] for name, column in columns.items()},
                rows[chosen],
                None if exclude is None else exclude[chosen],
                k=k,
            )
            parts.append(tuple(array[:real] for array in part))
        ids, scores, after = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return ids, scores, after

    @torch.inference_mode()
    def rebuild(self, histories: Sequence[NumpyColumns]) -> Rows:
        """Packed states after each session's recent events, from the initial state.

        The histories may differ in length and may be empty; they run side by side, the
        longest first, so that step t advances only those that have an event t.
        """
        after = self.initial_rows(len(histories))
        lengths = np.array([len(history["item"]) for history in histories])
        order = np.argsort(-lengths, kind="stable")
        order = order[lengths[order] > 0]
        for start in range(0, len(order), self.wave_size):
            with self.lock.reading():
                self._rebuild_part(histories, lengths, order[start : start + self.wave_size], after)
        return after

    def _rebuild_part(
        self,
        histories: Sequence[NumpyColumns],
        lengths: npt.NDArray[np.int64],
        part: npt.NDArray[np.int64],
        after: Rows,
    ) -> None:
        padded = part
        if self.deterministic:
            padded = part[np.minimum(np.arange(self.wave_size), len(part) - 1)]
        state = self.network.initial_state(len(padded), self.device)
        packed = self.layout.pack(state, len(padded))
        for step in range(int(lengths[part[0]])):
            # Finished histories repeat their last event; their rows are not taken any more.
            columns = {
                name: np.array([histories[i][name][min(step, lengths[i] - 1)] for i in padded])
                for name in histories[padded[0]]
            }
            _, state = self.network.advance(self.inputs(columns), state)
            ending = np.flatnonzero(lengths[part] == step + 1)
            if len(ending):
                packed = self.layout.pack(state, len(padded))
                after[part[ending]] = packed[ending]

    def set_tables(self, input_VE: Tensor, output_VH: Tensor, bias_V: Tensor, moved_R: Tensor) -> None:
        """Go on with these item tables of a `GradientNetwork`, where the rows `moved_R` are new or others.

        They may have more rows than before, and the bias says which items are listed (-inf: not).
        The caller holds `lock` for writing.
        """
        network = self.network
        if not isinstance(network, GradientNetwork) or self._bias is None:
            raise TypeError(f"a {type(network).__name__} has no item tables")
        network.get_parameter(network.input_table).data = input_VE
        network.get_parameter(network.output_table).data = output_VH
        self._bias.set_bias(bias_V)
        if self.shortlist is not None:
            self.shortlist.set_table(output_VH, bias_V, moved_R)

    def warm_up(self) -> None:
        """Run waves of the sizes to come, so that the first real one does not pay for set-up."""
        for sessions in {1, self.wave_size // 2 or 1, self.wave_size}:
            columns: dict[str, npt.NDArray[Any]] = {"item": np.zeros(sessions, np.int64)}
            for name in self.network.columns:
                columns.setdefault(name, np.full(sessions, None, dtype=object))
            for _ in range(3):
                self.step(columns, self.initial_rows(sessions))

    def inputs(self, columns: NumpyColumns) -> dict[str, Tensor]:
        """Item indices, and the other columns as the events have them → the network's inputs."""
        inputs = {"item": torch.from_numpy(columns["item"]).to(self.device)}
        for name in self._raw_columns:
            inputs[name] = torch.from_numpy(self._features.encode(name, columns[name])).to(self.device)
        return inputs

    def _to_device(self, state: State) -> State:
        return {name: tensor.to(self.device) for name, tensor in state.items()}
