"""Ranks of next events in the lists that a version shows while event time goes on.

Sessions are stepped in event time, each event once, as in the stream: an unknown item
leaves the state alone, and before a session's first known item its list is POP's.
A session that began under an earlier version is rebuilt from its events.

Shapes: N rows of a log's sessions, B sessions in the wave, S sessions, H units, V items.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.data.sessions import Sessions
from model.evaluation.rank_targets import newest_items
from model.networks.item_scores import item_scores
from model.networks.network import GradientNetwork, State
from model.stepping.top_k import rank_of
from replay.cadence.log_refresher import LogRefresher

WAVE = 128
Rows = npt.NDArray[np.int64]


@torch.inference_mode()
def ranks_in_lists(
    network: GradientNetwork,
    follower: LogRefresher,
    counts_V: npt.NDArray[np.int64],
    sessions: Sessions,
    rows_N: Rows,
    *,
    begin_ms: int,
    every_ms: int | None = None,
    exclude_session_items: bool = False,
) -> Rows:
    """Rank the event behind each row of `rows_N` in the list after that row, ties against it.

    `follower` holds the version's tables; every `every_ms`, from `begin_ms` on, it follows the log,
    None: never. `counts_V` are the version's training counts, for POP. Rows are ascending.
    """
    walk = _Walk(network, follower, counts_V, sessions, rows_N, exclude_session_items)
    for now_ms, rows in _slices(sessions, walk.rows, begin_ms, every_ms):
        if every_ms is not None:
            follower.to(now_ms)
        for wave in _waves(walk.session_of(rows), rows):
            walk.step(wave)
    return walk.ranks_N


def _slices(
    sessions: Sessions, rows: Rows, begin_ms: int, every_ms: int | None
) -> Iterator[tuple[int, Rows]]:
    """Rows by the moment whose tables they meet; what came before `begin_ms` with the first."""
    if every_ms is None:
        yield begin_ms, rows
        return
    number = np.maximum(sessions.times_ms[rows] - begin_ms, 0) // every_ms
    order = np.argsort(number, kind="stable")
    rows, number = rows[order], number[order]
    cuts = np.flatnonzero(np.diff(number)) + 1
    for part in np.split(np.arange(len(rows)), cuts):
        if len(part):
            yield begin_ms + int(number[part[0]]) * every_ms, rows[part]


def _waves(session_of: Rows, rows: Rows) -> Iterator[Rows]:
    """Rows, ascending, at most one of each session at a time."""
    begins = np.flatnonzero(np.r_[True, session_of[1:] != session_of[:-1]])
    place = np.arange(len(rows)) - np.repeat(begins, np.diff(np.r_[begins, len(rows)]))
    for number in range(int(place.max()) + 1):
        yield rows[place == number]


class _Walk:
    """The states of the sessions that have a row to rank, and the ranks so far."""

    def __init__(
        self,
        network: GradientNetwork,
        follower: LogRefresher,
        counts_V: npt.NDArray[np.int64],
        sessions: Sessions,
        rows_N: Rows,
        exclude: bool,
    ) -> None:
        self._network, self._follower, self._sessions, self._exclude = network, follower, sessions, exclude
        self._counts_V, self._ascending = counts_V, np.sort(counts_V)
        self._log_session_N = np.searchsorted(sessions.offsets, rows_N, side="right") - 1
        self._needed_S = np.unique(self._log_session_N)
        last_S = rows_N[np.searchsorted(self._log_session_N, self._needed_S, side="right") - 1]
        begins_S = sessions.offsets[self._needed_S]
        lengths_S = last_S - begins_S + 1
        starts_S = np.cumsum(lengths_S) - lengths_S
        self.rows = np.repeat(begins_S - starts_S, lengths_S) + np.arange(int(lengths_S.sum()))
        self._rows_N = rows_N
        self.ranks_N = np.zeros(len(rows_N), np.int64)
        self._state: State = network.initial_state(len(self._needed_S))
        self._output_SH = torch.zeros(len(self._needed_S), follower.output_VH.shape[1])
        self._has_stepped_S = np.zeros(len(self._needed_S), bool)

    def session_of(self, rows: Rows) -> Rows:
        """Number of each row's session among those walked."""
        of_log = np.searchsorted(self._sessions.offsets, rows, side="right") - 1
        return np.searchsorted(self._needed_S, of_log)

    def step(self, wave: Rows) -> None:
        """Step each row's session, then rank what comes next where that is asked for."""
        for start in range(0, len(wave), WAVE):
            rows = wave[start : start + WAVE]
            self._advance(rows)
            place = np.minimum(np.searchsorted(self._rows_N, rows), len(self._rows_N) - 1)
            asked = self._rows_N[place] == rows
            if asked.any():
                self.ranks_N[place[asked]] = self._rank(rows[asked])

    def _advance(self, rows: Rows) -> None:
        tables = self._follower
        items = self._sessions.items[rows].astype(np.int64)
        able = items < len(tables.can_step_V)
        able[able] = tables.can_step_V.numpy()[items[able]]
        if not able.any():
            return
        numbers = torch.from_numpy(self.session_of(rows[able]))
        state = {name: tensor[numbers] for name, tensor in self._state.items()}
        output_BH, state = self._network.run(tables.input_VE[torch.from_numpy(items[able])], state)
        for name, tensor in state.items():
            self._state[name][numbers] = tensor
        self._output_SH[numbers] = output_BH
        self._has_stepped_S[numbers.numpy()] = True

    def _rank(self, rows: Rows) -> Rows:
        tables = self._follower
        numbers = self.session_of(rows)
        targets = self._sessions.items[rows + 1].astype(np.int64)
        ranks = np.zeros(len(rows), np.int64)
        stepped = self._has_stepped_S[numbers]
        popular = ~stepped & (targets < len(self._counts_V))
        counts = self._counts_V[targets[popular]]
        ranks[popular] = len(self._ascending) - np.searchsorted(self._ascending, counts, side="left")
        size = len(tables.bias_V)
        asked = stepped & (targets < size)
        if asked.any():
            scores_BV = item_scores(
                self._output_SH[torch.from_numpy(numbers[asked])], tables.output_VH, tables.bias_V
            )
            ranks[asked] = rank_of(
                scores_BV, torch.from_numpy(targets[asked]), self._excluded(rows[asked], size)
            ).numpy()
        return ranks

    def _excluded(self, rows: Rows, size: int) -> Tensor | None:
        if not self._exclude:
            return None
        items_BM = newest_items(self._sessions, rows).long()
        return items_BM.masked_fill(items_BM >= size, -1)
