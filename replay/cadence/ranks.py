"""Ranks of next events in the lists that a version shows while event time goes on.

Sessions are stepped in event time, each event once, as in the stream: an unknown item
leaves the state alone, and until a session's first known item its list is POP's.
A session that began under an earlier version is rebuilt from its events.

Shapes: N rows of a log's sessions, B sessions in the wave, S sessions, H units, V items.
Tested by tests/unit/replay/cadence/test_run_cadence.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.data.sessions import Sessions
from model.evaluation.rank_targets import newest_items
from model.networks.item_scores import item_scores
from model.networks.network import State
from model.stepping.top_k import rank_of
from replay.cadence.log_refresher import LogRefresher
from replay.cadence.trainer import Version

WAVE = 128
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RefreshTimes:
    """The moments at which tables are refreshed: from `begin_ms` on every `every_ms`, None: never."""

    begin_ms: int
    every_ms: int | None = None

    def parts(self, sessions: Sessions, rows: Rows) -> Iterator[tuple[int, Rows]]:
        """Rows by the moment whose tables rank them; rows before `begin_ms` belong to the first."""
        if self.every_ms is None:
            yield self.begin_ms, rows
            return
        number = np.maximum(sessions.times_ms[rows] - self.begin_ms, 0) // self.every_ms
        order = np.argsort(number, kind="stable")
        rows, number = rows[order], number[order]
        cuts = np.flatnonzero(np.diff(number)) + 1
        for part in np.split(np.arange(len(rows)), cuts):
            if len(part):
                yield self.begin_ms + int(number[part[0]]) * self.every_ms, rows[part]


@torch.inference_mode()
def ranks_in_lists(
    version: Version,
    tables: LogRefresher,
    sessions: Sessions,
    rows_N: Rows,
    refreshes: RefreshTimes,
    *,
    exclude_session_items: bool = False,
) -> Rows:
    """Rank the event after each row of `rows_N` in the list made at that row, ties against it.

    `tables` are the version's own and are refreshed as `refreshes` says. Rows are ascending.
    """
    walk = _Walk(version, tables, sessions, rows_N, exclude_session_items)
    for now_ms, rows in refreshes.parts(sessions, walk.rows):
        if refreshes.every_ms is not None:
            tables.refresh(now_ms)
        for wave in _waves(walk.session_of(rows), rows):
            walk.step(wave)
    return walk.ranks_N


def _waves(session_of: Rows, rows: Rows) -> Iterator[Rows]:
    """Rows, ascending, at most one of each session at a time."""
    begins = np.flatnonzero(np.r_[True, session_of[1:] != session_of[:-1]])
    place = np.arange(len(rows)) - np.repeat(begins, np.diff(np.r_[begins, len(rows)]))
    for number in range(int(place.max()) + 1):
        yield rows[place == number]


class _Walk:
    """The states of the sessions that have a row to rank, and the ranks so far."""

    def __init__(
        self, version: Version, tables: LogRefresher, sessions: Sessions, rows_N: Rows, exclude: bool
    ) -> None:
        self._network, self._tables = version.network, tables
        self._sessions, self._exclude = sessions, exclude
        self._counts_V, self._ascending = version.counts_V, np.sort(version.counts_V)
        self._log_session_N = np.searchsorted(sessions.offsets, rows_N, side="right") - 1
        self._needed_S = np.unique(self._log_session_N)
        last_S = rows_N[np.searchsorted(self._log_session_N, self._needed_S, side="right") - 1]
        begins_S = sessions.offsets[self._needed_S]
        lengths_S = last_S - begins_S + 1
        starts_S = np.cumsum(lengths_S) - lengths_S
        self.rows = np.repeat(begins_S - starts_S, lengths_S) + np.arange(int(lengths_S.sum()))
        self._rows_N = rows_N
        self.ranks_N = np.zeros(len(rows_N), np.int64)
        self._state: State = version.network.initial_state(len(self._needed_S))
        self._output_SH = torch.zeros(len(self._needed_S), tables.output_VH.shape[1])
        self._has_stepped_S = np.zeros(len(self._needed_S), bool)

    def session_of(self, rows: Rows) -> Rows:
        """The number of each row's session among the sessions walked."""
        of_log = np.searchsorted(self._sessions.offsets, rows, side="right") - 1
        return np.searchsorted(self._needed_S, of_log)

    def step(self, wave: Rows) -> None:
        """Step each row's session, then rank the next event of the rows that are to rank."""
        for start in range(0, len(wave), WAVE):
            rows = wave[start : start + WAVE]
            self._advance(rows)
            place = np.minimum(np.searchsorted(self._rows_N, rows), len(self._rows_N) - 1)
            is_ranked = self._rows_N[place] == rows
            if is_ranked.any():
                self.ranks_N[place[is_ranked]] = self._rank(rows[is_ranked])

    def _advance(self, rows: Rows) -> None:
        tables = self._tables
        items = self._sessions.items[rows].astype(np.int64)
        can_step = items < len(tables.can_step_V)
        can_step[can_step] = tables.can_step_V.numpy()[items[can_step]]
        if not can_step.any():
            return
        numbers = torch.from_numpy(self.session_of(rows[can_step]))
        state = {name: tensor[numbers] for name, tensor in self._state.items()}
        output_BH, state = self._network.run(tables.input_VE[torch.from_numpy(items[can_step])], state)
        for name, tensor in state.items():
            self._state[name][numbers] = tensor
        self._output_SH[numbers] = output_BH
        self._has_stepped_S[numbers.numpy()] = True

    def _rank(self, rows: Rows) -> Rows:
        tables = self._tables
        numbers = self.session_of(rows)
        targets = self._sessions.items[rows + 1].astype(np.int64)
        ranks = np.zeros(len(rows), np.int64)
        stepped = self._has_stepped_S[numbers]
        popular = ~stepped & (targets < len(self._counts_V))
        counts = self._counts_V[targets[popular]]
        ranks[popular] = len(self._ascending) - np.searchsorted(self._ascending, counts, side="left")
        size = len(tables.bias_V)
        scored = stepped & (targets < size)
        if scored.any():
            scores_BV = item_scores(
                self._output_SH[torch.from_numpy(numbers[scored])], tables.output_VH, tables.bias_V
            )
            ranks[scored] = rank_of(
                scores_BV, torch.from_numpy(targets[scored]), self._excluded(rows[scored], size)
            ).numpy()
        return ranks

    def _excluded(self, rows: Rows, size: int) -> Tensor | None:
        if not self._exclude:
            return None
        items_BM = newest_items(self._sessions, rows).long()
        return items_BM.masked_fill(items_BM >= size, -1)
