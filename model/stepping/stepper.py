"""Steps a wave: packed states and columns in, lists and packed states out.

The stream and the offline evaluation step by this same code, so their lists agree.

Shapes: B sessions in the wave, k list length, M masked items, R bytes of a packed state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import LIST_LENGTH, Scoring
from model.device import choose_device
from model.networks.best_items import best_items
from model.networks.fused.fused_list import FusedList, Proposals
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.networks.popularity_prior import CurrentBias
from model.stepping.choose_shortlist import choose_shortlist
from model.stepping.rank_on_host import rank_on_host
from model.stepping.read_write_lock import ReadWriteLock
from model.stepping.score_parts import by_parts
from model.stepping.shortlist import Shortlist
from model.stepping.state_layout import Rows, StateLayout
from model.stepping.table_copies import TableCopies
from model.stepping.top_k import top_of
from model.stepping.unlisted_items import AsIf, UnlistedItems, cleared
from model.stepping.wave_copies import WaveCopies

NumpyColumns = Mapping[str, npt.NDArray[Any]]


class SteppedBySource(NamedTuple):
    """Item indices and scores of the lists, B×k, new packed states, and the lists of each source, B×S×k.

    The last are as `source_lists` makes them, None where the network is not a fused list.
    """

    ids_Bk: npt.NDArray[np.int64]
    scores_Bk: npt.NDArray[np.float32]
    rows: Rows
    lists_BSk: npt.NDArray[np.int32] | None


class Stepper:
    """Steps waves of sessions with one model on one device; the model's weights do not change.

    A thread that changes the item tables or `unlisted` holds `lock` for writing, so a step reads one
    state of them. `scoring` names how the items to score are chosen, or is a shortlist. `deterministic`
    pads a wave to `wave_size` rows (or splits it), so that a session's numbers depend on no others.

    >>> from model.config import ModelConfig
    >>> from model.data.vocabulary import Vocabulary
    >>> from model.networks.by_name import build
    >>> vocabulary = Vocabulary(["a", "b", "c"], np.array([5, 3, 1]))
    >>> config = ModelConfig(network="pop")
    >>> stepper = Stepper(ModelVersion("v1", config, vocabulary, build(config, vocabulary)), k=2)
    >>> ids, scores, rows = stepper.step({"item": np.array([2])}, stepper.initial_rows(1))
    >>> ids.tolist()
    [[0, 1]]
    """

    def __init__(
        self,
        model: ModelVersion,
        *,
        device: str = "auto",
        k: int = LIST_LENGTH,
        wave_size: int = 64,
        deterministic: bool = False,
        scoring: Scoring | Shortlist = "auto",
    ) -> None:
        self.k, self.wave_size, self.deterministic = k, wave_size, deterministic
        self.device, self.lock = choose_device(device), ReadWriteLock()
        self.network = model.network.to(self.device).eval()
        self.layout = StateLayout(self.network)
        self.copies, self._tables = WaveCopies(self.device, self.layout), TableCopies(self.device)
        self._features = model.vocabulary.features
        self._raw_columns = [name for name in self.network.columns if name != "item"]
        # The network that scores all items.
        self.scoring_network = self.network.network if isinstance(self.network, FusedList) else self.network
        self.shortlist = (
            scoring
            if isinstance(scoring, Shortlist)
            # Where every byte counts, the processor must not decide.
            else choose_shortlist(
                "exact" if deterministic and scoring == "auto" else scoring, self.scoring_network, self.device
            )
        )
        self.bias = None
        if isinstance(self.scoring_network, GradientNetwork):
            bias_V = self.scoring_network.get_parameter(self.scoring_network.bias_table)
            self.bias = CurrentBias(bias_V, self.scoring_network.prior)
        self.unlisted = UnlistedItems(self.device, self.network.items, (self.bias, self.shortlist))

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
        """One step of B sessions. Returns item indices B×k, best first, their scores, and new packed states.

        `exclude` holds item indices to leave out of the lists, B×M, padded with -1. Rows with fewer
        than k listable items end in -1 / -inf. `k` replaces the stepper's own list length.
        """
        return self._step(columns, rows, exclude, k or self.k, by_source=False)[:3]

    @torch.inference_mode()
    def step_by_source(
        self, columns: NumpyColumns, rows: Rows, exclude: npt.NDArray[np.int64] | None = None, k: int = 0
    ) -> SteppedBySource:
        """As `step`, with the lists of each source alone, which have the stepper's own length."""
        return self._step(columns, rows, exclude, k or self.k, by_source=isinstance(self.network, FusedList))

    def _step(
        self,
        columns: NumpyColumns,
        rows: Rows,
        exclude: npt.NDArray[np.int64] | None,
        k: int,
        *,
        by_source: bool,
    ) -> SteppedBySource:
        sessions = len(rows)
        if self.deterministic and sessions != self.wave_size:
            return self._step_padded(columns, rows, exclude, k, by_source)
        sent = self.copies.send(self._encoded(columns), rows, exclude)
        lists_BSk = None
        found: Proposals | None
        with self.lock.reading():
            output_BH, state = self.network.advance(sent.inputs, sent.state)
            fused, receive = self.network, self.copies.receive
            if isinstance(fused, FusedList) and self.device.type != "cpu":
                ids, scores = self._of_network(fused.network_output(output_BH), fused.proposed, None)
                (ids_BN, scores_BN), after = receive([ids, scores.float()], state, sessions)
                kept, best = self.layout.unpack(after), (ids_BN, scores_BN)
                ids_Bk, scores_Bk, found = rank_on_host(fused, self.unlisted, kept, best, exclude, k)
            else:
                ids, scores, found = self.best(output_BH, k, sent.masked_BM)
                (ids_Bk, scores_Bk), after = receive([ids, scores.float()], state, sessions)
            if by_source and found is not None and isinstance(fused, FusedList):
                lists_BSk = fused.lists_by_source(found, exclude, self.k)
        return SteppedBySource(ids_Bk, scores_Bk, after, lists_BSk)

    @torch.inference_mode()
    def advance(self, columns: NumpyColumns, rows: Rows) -> Rows:
        """One step of B sessions without scoring. Returns the packed states that `step` would return."""
        if self.deterministic and len(rows) != self.wave_size:
            padded = self._padded_parts(columns, len(rows))
            return np.concatenate([self.advance(part, rows[chosen])[:real] for chosen, part, real in padded])
        sent = self.copies.send(self._encoded(columns), rows, None)
        with self.lock.reading():
            _, state = self.network.advance(sent.inputs, sent.state)
        return self.copies.receive([], state, len(rows))[1]

    def _padded_parts(
        self, columns: NumpyColumns, sessions: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], NumpyColumns, int]]:
        """Exactly `wave_size` rows, padded with the last row, their columns, and how many rows are real."""
        for start in range(0, sessions, self.wave_size):
            chosen = np.minimum(np.arange(start, start + self.wave_size), sessions - 1)
            part = {name: column[chosen] for name, column in columns.items()}
            yield chosen, part, min(self.wave_size, sessions - start)

    def proposals(self, output_BH: Tensor, as_if: AsIf | None = None) -> Proposals:
        """What all sources of a fused list propose, a session's own items too. The caller holds `lock`."""
        fused, network = self.network, self.scoring_network
        assert isinstance(fused, FusedList)
        n, net_BH = fused.proposed, fused.network_output(output_BH)
        if as_if is not None and isinstance(network, GradientNetwork):
            best = best_items(network.score(net_BH, as_if.bias_V), n)
            return cleared(fused.candidates(output_BH, *best), as_if.marks_V)
        return self.unlisted.cleared(fused.candidates(output_BH, *self._of_network(net_BH, n, None)))

    def best(
        self, output_BH: Tensor, k: int, exclude_BM: Tensor | None
    ) -> tuple[Tensor, Tensor, Proposals | None]:
        """As `step` after outputs B×H, with the proposals of a fused list. The caller holds `lock`."""
        if not isinstance(self.network, FusedList):
            return *self._of_network(output_BH, k, exclude_BM), None
        proposals = self.proposals(output_BH)
        ranked = self.network.rank(proposals, output_BH.device)
        return *top_of(ranked, k, exclude_BM, self.unlisted.marks_V), proposals

    def _of_network(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None) -> tuple[Tensor, Tensor]:
        return by_parts(self._of_part, output_BH, k, exclude_BM, self.scoring_network.items)

    def _of_part(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None) -> tuple[Tensor, Tensor]:
        """The k best listable items of the network that scores all items, and their scores."""
        network = self.scoring_network
        if self.shortlist is not None:
            return self.shortlist.best(output_BH, k, exclude_BM)
        if isinstance(network, GradientNetwork) and self.bias is not None:
            r_BV = network.score(output_BH, self.bias.now())
            return best_items(r_BV, k) if isinstance(self.network, FusedList) else top_of(r_BV, k, exclude_BM)
        return top_of(network.score(output_BH), k, exclude_BM, self.unlisted.marks_V)

    def _step_padded(
        self,
        columns: NumpyColumns,
        rows: Rows,
        exclude: npt.NDArray[np.int64] | None,
        k: int,
        by_source: bool,
    ) -> SteppedBySource:
        parts = []
        for chosen, part, real in self._padded_parts(columns, len(rows)):
            masked = None if exclude is None else exclude[chosen]
            stepped = self._step(part, rows[chosen], masked, k, by_source=by_source)
            parts.append([None if array is None else array[:real] for array in stepped])
        ids, scores, after, lists = zip(*parts, strict=True)
        return SteppedBySource(
            np.concatenate(ids),
            np.concatenate(scores),
            np.concatenate(after),
            np.concatenate(lists) if by_source else None,
        )

    @torch.inference_mode()
    def rebuild(self, histories: Sequence[NumpyColumns]) -> Rows:
        """The packed states after each session's recent events, from the initial state.

        The histories may differ in length and may be empty. They run side by side, the longest
        first, so that step t advances only the histories that have an event t.
        """
        after = self.initial_rows(len(histories))
        lengths = np.array([len(history["item"]) for history in histories])
        order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
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
        for step in range(int(lengths[part[0]])):
            # Finished histories repeat their last event; their rows are not read any more.
            columns = {
                name: np.array([histories[i][name][min(step, lengths[i] - 1)] for i in padded])
                for name in histories[padded[0]]
            }
            _, state = self.network.advance(self.inputs(columns), state)
            ending = np.flatnonzero(lengths[part] == step + 1)
            if len(ending):
                after[part[ending]] = self.copies.receive([], state, len(padded))[1][ending]

    def set_tables(self, input_VE: Tensor, output_VH: Tensor, bias_V: Tensor, moved_R: Tensor) -> None:
        """Use these item tables from the next step on; the rows `moved_R` are new or changed.

        The tables may have more rows than before. An item of bias -inf is not listed. The caller holds
        `lock` for writing. Raises TypeError when the items are not scored by a `GradientNetwork`.
        """
        network = self.scoring_network
        if not isinstance(network, GradientNetwork) or self.bias is None:
            raise TypeError(f"a {type(network).__name__} has no item tables")
        for name, table in {network.input_table: input_VE, network.output_table: output_VH}.items():
            network.get_parameter(name).data = self._tables.update(name, table, moved_R)
        self.unlisted.have_room(len(bias_V))
        self.bias.set_bias(bias_V.to(self.device))
        if self.shortlist is not None:
            self.shortlist.set_table(output_VH, bias_V, moved_R)

    def warm_up(self) -> None:
        """Step a few empty waves of usual sizes, so that the first real wave does not pay for set-up."""
        for sessions in {1, self.wave_size // 2 or 1, self.wave_size}:
            columns = {name: np.full(sessions, None, dtype=object) for name in self.network.columns}
            columns["item"] = np.zeros(sessions, np.int64)
            for _ in range(3):
                self.step(columns, self.initial_rows(sessions))

    def inputs(self, columns: NumpyColumns) -> dict[str, Tensor]:
        """The network's inputs from item indices and from the other columns as the events have them."""
        return self.copies.send_columns(self._encoded(columns))

    def _encoded(self, columns: NumpyColumns) -> dict[str, npt.NDArray[Any]]:
        encode = self._features.encode
        return {"item": columns["item"], **{name: encode(name, columns[name]) for name in self._raw_columns}}
