"""Sessions of a log stepped in event time, each event once, as in the stream, with tables that follow it.

An unknown item leaves a session's state alone. A session that began under an earlier version is rebuilt
from its events.

Shapes: N rows of a log's sessions, B sessions in the wave, S sessions, H units, R newest items.
Tested by tests/unit/replay/cadence/test_run_cadence.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.data.sessions import RECENT_ITEMS, Sessions
from model.freshness.log_refresher import LogRefresher
from model.networks.network import GradientNetwork, State

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


class ListsToMake(NamedTuple):
    """Sessions after an event of the rows wanted: the places of these rows among them, and the rows, B.

    `has_stepped_B` tells whether a session has had a known item; `recent_BR` are its newest known items,
    newest first, padded with -1.
    """

    places: Rows
    rows: Rows
    output_BH: Tensor
    recent_BR: npt.NDArray[np.int32]
    has_stepped_B: npt.NDArray[np.bool_]


class LogWalk:
    """Steps the sessions that have a wanted row; `rows_N` are ascending.

    `tables` are the network's own and are refreshed as `refreshes` says.
    """

    def __init__(
        self, network: GradientNetwork, tables: LogRefresher, sessions: Sessions, rows_N: Rows
    ) -> None:
        self._network, self._tables, self._sessions = network, tables, sessions
        log_session_N = np.searchsorted(sessions.offsets, rows_N, side="right") - 1
        self._needed_S = np.unique(log_session_N)
        last_S = rows_N[np.searchsorted(log_session_N, self._needed_S, side="right") - 1]
        begins_S = sessions.offsets[self._needed_S]
        lengths_S = last_S - begins_S + 1
        starts_S = np.cumsum(lengths_S) - lengths_S
        self._rows = np.repeat(begins_S - starts_S, lengths_S) + np.arange(int(lengths_S.sum()))
        self._rows_N = rows_N
        self._state: State = network.initial_state(len(self._needed_S))
        self._output_SH = torch.zeros(len(self._needed_S), tables.output_VH.shape[1])
        self._recent_SR = np.full((len(self._needed_S), RECENT_ITEMS), -1, np.int32)
        self._has_stepped_S = np.zeros(len(self._needed_S), bool)

    def lists(self, refreshes: RefreshTimes) -> Iterator[ListsToMake]:
        """The sessions after each wanted row, in waves; each with the tables of its moment."""
        for now_ms, rows in refreshes.parts(self._sessions, self._rows):
            if refreshes.every_ms is not None:
                self._tables.refresh(now_ms)
            for wave in _waves(self._session_of(rows), rows):
                for start in range(0, len(wave), WAVE):
                    made = self.step(wave[start : start + WAVE])
                    if len(made.rows):
                        yield made

    def step(self, rows: Rows) -> ListsToMake:
        """Step each row's session. Returns the sessions of wanted rows."""
        self._advance(rows)
        place = np.minimum(np.searchsorted(self._rows_N, rows), len(self._rows_N) - 1)
        is_wanted = self._rows_N[place] == rows
        numbers = self._session_of(rows[is_wanted])
        return ListsToMake(
            place[is_wanted],
            rows[is_wanted],
            self._output_SH[torch.from_numpy(numbers)],
            self._recent_SR[numbers],
            self._has_stepped_S[numbers],
        )

    def _session_of(self, rows: Rows) -> Rows:
        """The number of each row's session among the sessions walked."""
        of_log = np.searchsorted(self._sessions.offsets, rows, side="right") - 1
        return np.searchsorted(self._needed_S, of_log)

    def _advance(self, rows: Rows) -> None:
        tables = self._tables
        items = self._sessions.items[rows].astype(np.int64)
        can_step = items < len(tables.can_step_V)
        can_step[can_step] = tables.can_step_V.numpy()[items[can_step]]
        if not can_step.any():
            return
        of_session = self._session_of(rows[can_step])
        numbers = torch.from_numpy(of_session)
        state = {name: tensor[numbers] for name, tensor in self._state.items()}
        output_BH, state = self._network.run(tables.input_VE[torch.from_numpy(items[can_step])], state)
        for name, tensor in state.items():
            self._state[name][numbers] = tensor
        self._output_SH[numbers] = output_BH
        self._recent_SR[of_session, 1:] = self._recent_SR[of_session, :-1]
        self._recent_SR[of_session, 0] = items[can_step]
        self._has_stepped_S[of_session] = True


def _waves(session_of: Rows, rows: Rows) -> Iterator[Rows]:
    """Rows, ascending, at most one of each session at a time."""
    begins = np.flatnonzero(np.r_[True, session_of[1:] != session_of[:-1]])
    place = np.arange(len(rows)) - np.repeat(begins, np.diff(np.r_[begins, len(rows)]))
    for number in range(int(place.max()) + 1):
        yield rows[place == number]
