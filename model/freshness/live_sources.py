"""The sources of a fused list that learn from events as they come, beside the tables of its network.

Shapes: N events, C earlier items of the session, newest first.
Tested by tests/unit/model/freshness/test_live_sources.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.freshness.moving_tables import MovingTables
from model.networks.fused.fused_list import FusedList
from model.networks.fused.live_tables import HALF_LIFE_MS, STANDING, LiveTables
from model.networks.fused.newest_sessions import NewestSessions

REMEMBERED_HALF_LIVES = 10  # as of the tables: older events count for less than a thousandth


class LiveSources:
    """Counts the events of listed items and keeps the sessions since the training, for the fused list.

    What is popular now comes from the counts of `tables`. The caller lets no step read the list meanwhile.
    """

    remembered_ms = REMEMBERED_HALF_LIVES * HALF_LIFE_MS

    def __init__(self, fused: FusedList, tables: MovingTables) -> None:
        self._fused, self._tables = fused, tables
        self._live = LiveTables(len(tables))
        self._sessions = NewestSessions(len(tables))
        fused.live = STANDING

    def learn(
        self,
        items_N: npt.NDArray[np.integer],
        near_NC: npt.NDArray[np.integer],
        times_ms_N: npt.NDArray[np.int64],
        keys_N: npt.NDArray[np.int64],
        begins_N: npt.NDArray[np.bool_],
    ) -> None:
        """Learn events up to the tables' now, by the rows of their items, -1 for items without one.

        `keys_N` tell sessions apart, -1 for an unknown one; `begins_N` says whether the event is its first.
        """
        listed_V = self._tables.can_step_V.numpy()
        near_NC = np.where((near_NC >= 0) & listed_V[near_NC], near_NC, -1)
        listed_N = (items_N >= 0) & listed_V[items_N]
        self._live.learn(items_N[listed_N], near_NC[listed_N], times_ms_N[listed_N], self._tables.now_ms)
        # The version has the sessions before its training as they were then.
        since_N = times_ms_N >= self._tables.trained_ms
        listed_items_N = np.where(listed_N, items_N, -1)
        self._sessions.learn(keys_N[since_N], begins_N[since_N], listed_items_N[since_N], near_NC[since_N])
        live = self._live.arrays(self._tables.counts_V, listed_V)
        self._fused.live = live._replace(sessions=self._sessions.arrays())
