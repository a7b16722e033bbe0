"""Keeps a served version fresh between two trainings by the events that its worker sees.

Once per `every_ms` of event time a refresh applies the events that arrived since the last one:

1. decay     the counts of `MovingTables` to the time of now
2. count     the new events; those before the training also count as known to the weights
3. assign    rows after the trained ones to unknown items
4. place     new items at the mean of their neighbours; list those with enough events
5. install   tables and bias in the stepper, between two steps and never within one
6. learn     of a fused list, what follows, is near and is popular now, and the sessions since the
             training; not within a step either

A row belongs to one item from its listing on, until another version is served. Before an item is
listed, its row may go to a later item, so that junk ids take no room.

Shapes: N events, R rows of the tables.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from model.errors import NextclickError
from model.freshness.growing_vocabulary import GrowingVocabulary
from model.freshness.live_sources import LiveSources
from model.freshness.moving_tables import FreshnessConfig, MovingTables
from model.freshness.recent_events import EventRows, RecentEvents
from model.networks.fused.fused_list import FusedList
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.stepping.stepper import Stepper

# The counts at the training come from the events seen here if these reach back so far before it,
# apart from the oldest share, which may be late events.
SEEN_HALF_LIVES = 4
OLDEST_SHARE = 0.01
Numbers = npt.NDArray[np.int64]
logger = logging.getLogger(__name__)


class TableRefresher:
    """Moves the item tables of a stepper and the vocabulary beside it; lists at most `room` new items.

    The counts to which the weights were trained come from the events seen before the training
    ended. If these do not reach back far enough, they are the counts of the network's prior, scaled to
    the half-life of `freshness` and by `share`, the part of all events that is seen here.
    `refreshes` and `refresh_cpu_s` add up the refreshes and their processor time. Raises
    NextclickError when the network has no item tables, has a loss of its own, or steps
    deterministically.

    >>> from model.config import ModelConfig
    >>> from model.data.vocabulary import Vocabulary
    >>> from model.networks.by_name import build
    >>> config = ModelConfig(hidden_size=2, prior_half_lives_s=(600.0,))
    >>> vocabulary = Vocabulary(["a", "b"], np.array([2, 1]))
    >>> model = ModelVersion("v1", config, vocabulary, build(config, vocabulary))
    >>> recent = RecentEvents(capacity=100)
    >>> stepper = Stepper(model, device="cpu")
    >>> refresher = TableRefresher(model, stepper, FreshnessConfig.of("new-items"), recent)
    >>> recent.add([(1_000, "new", ["a"], "s"), (2_000, "new", ["b"], "t")])
    >>> refresher.refresh(now_ms=3_000), refresher.vocabulary.encode(["new"]).tolist()
    (True, [2])
    """

    def __init__(
        self,
        model: ModelVersion,
        stepper: Stepper,
        freshness: FreshnessConfig,
        recent: RecentEvents,
        *,
        room: int = 10_000,
        every_ms: int = 60_000,
        share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        network = _refreshable(model, stepper)
        self._stepper, self._recent, self._freshness, self._every_ms = stepper, recent, freshness, every_ms
        known = len(model.vocabulary)
        self.vocabulary = GrowingVocabulary(model.vocabulary, room if freshness.new_items else 0)
        prior = network.prior
        trained_ms = int(model.manifest.get("data", {}).get("last_event_time_ms", -1)) + 1
        if prior is not None and int(prior.now_ms):
            trained_ms = int(prior.now_ms)
        else:
            logger.warning(
                "version %s has no prior (`prior_half_lives_s`): how popular items were at its training is "
                "known only as far as it was seen here",
                model.version,
                extra={"event": "popularity_unknown", "fields": {"version": model.version}},
            )
        self._known = self._used_rows = known
        self._tables = MovingTables(network, known, known + room, trained_ms, freshness)
        self._prior, self._share, self._counts_from_prior = prior, share, False
        fused = stepper.network
        self._sources = LiveSources(fused, self._tables) if isinstance(fused, FusedList) else None
        self._free = list(range(len(self._tables) - 1, known - 1, -1))
        self._candidates: dict[str, int] = {}  # rows of items that are not listed yet
        self._row_of: Numbers = np.zeros(0, np.int64)
        self._numbering = self._position = 0
        self.refreshed_ms: int | None = None
        self.refreshes, self.refresh_cpu_s = 0, 0.0
        self._seen_ms = 0
        self._refreshing = threading.Lock()
        self._install_tables(torch.arange(known, known))

    @property
    def needed_from_ms(self) -> int:
        """The event time from which on events matter."""
        by_sources = 0 if self._sources is None else self._sources.remembered_ms
        return self._tables.trained_ms - max(self._freshness.remembered_ms, by_sources)

    @property
    def age_ms(self) -> int:
        """Event time since the last refresh, until the newest event seen here; 0 before the first."""
        return 0 if self.refreshed_ms is None else max(0, self._seen_ms - self.refreshed_ms)

    def refresh(self, now_ms: int) -> bool:
        """Apply the events that arrived since the last refresh.

        Returns False when it is not due or another thread is refreshing.
        """
        self._seen_ms = max(self._seen_ms, now_ms)
        if not self._is_due(now_ms) or not self._refreshing.acquire(blocking=False):
            return False
        try:
            # Another thread may have refreshed since the first check.
            if is_due := self._is_due(now_ms):
                self._apply_new_events(now_ms)
        finally:
            self._refreshing.release()
        return is_due

    def _is_due(self, now_ms: int) -> bool:
        return self.refreshed_ms is None or now_ms >= self.refreshed_ms + self._every_ms

    def refresh_first(self, now_ms: int) -> None:
        """Refresh before the first step, and wait for another thread that does; later: do nothing."""
        if self.refreshed_ms is None:
            with self._refreshing:
                if self.refreshed_ms is None:
                    self._apply_new_events(now_ms)

    @torch.inference_mode()
    def _apply_new_events(self, now_ms: int) -> None:
        started_s = time.thread_time()
        tables, new = self._tables, self._recent.since(self._position)
        if self.refreshed_ms is None:
            self._choose_trained_counts(new.rows.times_ms_N)
        self._position = new.end
        self._map_numbers(new.ids, new.numbering)
        since_N = new.rows.times_ms_N >= tables.trained_ms
        before, rows = new.rows.where(~since_N), new.rows.where(since_N)
        tables.decay_counts(now_ms)
        if len(before) and not self._counts_from_prior:
            items_N, times_ms_N = self._rows_and_times(before)
            tables.add_trained_events(items_N, times_ms_N)
            tables.add_events(items_N, times_ms_N)
        assigned = self._assign_rows(rows, new.ids) if self._freshness.new_items else []
        items_N, times_ms_N = self._rows_and_times(rows)
        tables.add_events(items_N, times_ms_N)
        tables.add_events_since_training(items_N)
        with self._stepper.lock.writing():
            moved_R = torch.tensor(assigned, dtype=torch.int64)
            if self._freshness.new_items:
                placed_R = tables.place_new_items(*self._co_clicks(rows))
                moved_R = torch.unique(torch.cat([moved_R, placed_R]))
                self._list_new_items()
            tables.recompute_bias()
            self._install_tables(moved_R)
            if self._sources is not None:
                self._sources.learn(
                    self._row_of[new.rows.items_N],
                    self._near_rows(new.rows),
                    new.rows.times_ms_N,
                    new.rows.sessions_N,
                    new.rows.begins_N,
                )
        self.refreshed_ms = tables.now_ms
        self.refresh_cpu_s += time.thread_time() - started_s
        self.refreshes += 1

    def _choose_trained_counts(self, times_ms_N: Numbers) -> None:
        """Take the prior's counts if too few events from before the training were seen here."""
        enough_ms = self._tables.trained_ms - SEEN_HALF_LIVES * self._freshness.half_life_ms
        is_seen = len(times_ms_N) > 0 and np.quantile(times_ms_N, OLDEST_SHARE) <= enough_ms
        if self._prior is not None and not is_seen:
            self._counts_from_prior = True
            counts_V = self._prior.counts_by(self._freshness.half_life_s) * self._share()
            self._tables.counts_V[: self._known] = counts_V
            self._tables.set_trained_counts(counts_V)

    def _map_numbers(self, ids: list[str], numbering: int) -> None:
        """Find the row of each item number, -1 for items without one."""
        if numbering != self._numbering:
            self._row_of, self._numbering = self._row_of[:0], numbering
        new = ids[len(self._row_of) :]
        index, candidates = self.vocabulary.index, self._candidates
        rows = [index.get(item_id, candidates.get(item_id, -1)) for item_id in new]
        self._row_of = np.r_[self._row_of, np.array(rows, np.int64)]

    def _rows_and_times(self, rows: EventRows) -> tuple[Numbers, Numbers]:
        """The rows and times of the events whose item has a row."""
        items_N = self._row_of[rows.items_N]
        has_row_N = items_N >= 0
        return items_N[has_row_N], rows.times_ms_N[has_row_N]

    def _assign_rows(self, rows: EventRows, ids: list[str]) -> list[int]:
        """Assign free rows to the unknown items of the events, until none is left. Returns the rows."""
        unknown = np.unique(rows.items_N[self._row_of[rows.items_N] < 0])
        missing = len(unknown) - len(self._free)
        if missing > 0:
            self._free_rows(missing, rows)
        assigned: list[int] = []
        for number in unknown[: len(self._free)].tolist():
            row = self._free.pop()
            self._row_of[number] = self._candidates[ids[number]] = row
            assigned.append(row)
        self._used_rows = max([self._used_rows, *(row + 1 for row in assigned)])
        return assigned

    def _free_rows(self, count: int, rows: EventRows) -> None:
        """Free the rows of the `count` unlisted items that are seen least, except items of `rows`."""
        in_use = set(self._row_of[rows.items_N].tolist())
        counts_V = self._tables.counts_V
        idle = sorted(
            (counts_V[row], row, item) for item, row in self._candidates.items() if row not in in_use
        )
        freed = idle[:count]
        for _, row, item in freed:
            del self._candidates[item]
            self._free.append(row)
        gone = np.array([row for _, row, _ in freed], np.int64)
        self._tables.free_rows(gone)
        self._row_of[np.isin(self._row_of, gone)] = -1

    def _co_clicks(self, rows: EventRows) -> tuple[Numbers, Numbers]:
        """Pairs of different items of one session, in both directions, whose first item is new."""
        items_N, near_NC = self._row_of[rows.items_N], self._near_rows(rows)
        items_NC = np.broadcast_to(items_N[:, None], near_NC.shape)
        pairs_NC = (items_NC >= 0) & (near_NC >= 0) & (items_NC != near_NC)
        items, near = items_NC[pairs_NC], near_NC[pairs_NC]
        of_new, of_near = items >= self._known, near >= self._known
        return np.r_[items[of_new], near[of_near]], np.r_[near[of_new], items[of_near]]

    def _near_rows(self, rows: EventRows) -> Numbers:
        """The rows of the session's items before each event, -1 for items without one."""
        return np.where(rows.near_NC >= 0, self._row_of[rows.near_NC], -1)

    def _list_new_items(self) -> None:
        """Add the candidates that have a row and enough events to the vocabulary."""
        can_step_V = self._tables.can_step_V.numpy()
        listed = [(item, row) for item, row in self._candidates.items() if can_step_V[row]]
        for item, row in listed:
            self.vocabulary.add_item(row, item)
            del self._candidates[item]

    def _install_tables(self, moved_R: torch.Tensor) -> None:
        tables, used = self._tables, slice(self._used_rows)
        self._stepper.set_tables(tables.input_VE[used], tables.output_VH[used], tables.bias_V[used], moved_R)


def _refreshable(model: ModelVersion, stepper: Stepper) -> GradientNetwork:
    network = stepper.scoring_network
    if isinstance(network, GradientNetwork) and (network.has_own_loss or network.scores_by_direction):
        raise NextclickError(
            f"`follow` is set, and version {model.version} is a {type(network).__name__}",
            "Its scores are no logarithms, so they cannot be moved by how popular items are.",
            "Set `follow` to none, or serve a version that was trained on lists.",
        )
    if stepper.deterministic:
        raise NextclickError(
            "`follow` is set, and `deterministic` too",
            "What is followed moves the lists while events come; they cannot be equal byte for byte.",
            "Set one of them only.",
        )
    if isinstance(network, GradientNetwork):
        return network
    raise NextclickError(
        f"`follow` is set, and version {model.version} is a {type(network).__name__} on {stepper.device}",
        "Only the item tables of a network that learns by gradients are moved.",
        "Set `follow` to none, or serve another version.",
    )
