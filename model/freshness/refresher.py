"""Keeps a version in service fresh between two trainings, along the events that its worker sees.

Once so often, in event time, it takes up what has come: `MovingTables` move, items born since
get rows behind the trained ones, and the stepper goes on with all of that between two steps, never
within one. A row belongs to one item from its listing on, until another version is followed; before
it is listed, an unknown item's row may go to one that came later, so that junk ids take no room.

Shapes: N events, R rows of the tables.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from model.errors import NextclickError
from model.freshness.growing_vocabulary import GrowingVocabulary
from model.freshness.moving_tables import FreshnessConfig, MovingTables
from model.freshness.recent_events import EventRows, RecentEvents
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.stepping.stepper import Stepper

# Events of so long before the training, and what is older of all that were seen: late ones.
SEEN_HALF_LIVES = 4
OLDEST_SHARE = 0.01
Numbers = npt.NDArray[np.int64]
logger = logging.getLogger(__name__)


class TableRefresher:
    """Moves the item tables of a stepper and the vocabulary beside it; at most `room` new items are listed.

    The counts that the weights were trained to are those of the events seen before the training ended.
    Where these do not reach back far enough, they are those of the network's prior, brought to the
    half-life that is followed, times `share`, the part of all events that is seen here. Raises
    NextclickError when the network has no item tables on the CPU, has a loss of its own, or steps
    deterministically.
    """

    def __init__(
        self,
        model: ModelVersion,
        stepper: Stepper,
        between: FreshnessConfig,
        recent: RecentEvents,
        *,
        room: int = 10_000,
        every_ms: int = 60_000,
        share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        network = _followable(model, stepper)
        self._stepper, self._recent, self._between, self._every_ms = stepper, recent, between, every_ms
        known = len(model.vocabulary)
        self.vocabulary = GrowingVocabulary(model.vocabulary, room if between.new_items else 0)
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
        self._known = self._rows = known
        self._tables = MovingTables(network, known, known + room, trained_ms, between)
        self._prior, self._share, self._knows_counts = prior, share, False
        self._free = list(range(len(self._tables) - 1, known - 1, -1))
        self._candidates: dict[str, int] = {}
        self._row_of: Numbers = np.zeros(0, np.int64)
        self._numbering = self._place = 0
        self.refreshed_ms: int | None = None
        self._seen_ms = 0
        self._refreshing = threading.Lock()
        self._serve(torch.arange(known, known))

    @property
    def needed_from_ms(self) -> int:
        """The event time from which on events are worth knowing."""
        return self._tables.trained_ms - self._between.remembered_ms

    @property
    def age_ms(self) -> int:
        """Event time since the last refresh, as far as it is known here."""
        return 0 if self.refreshed_ms is None else max(0, self._seen_ms - self.refreshed_ms)

    def refresh(self, now_ms: int) -> bool:
        """Take up what has come, if it is time to and nobody is about it: → whether it was."""
        self._seen_ms = max(self._seen_ms, now_ms)
        if not self._is_due(now_ms) or not self._refreshing.acquire(blocking=False):
            return False
        try:
            # Another thread may have been about it until now.
            if is_due := self._is_due(now_ms):
                self._take_up(now_ms)
        finally:
            self._refreshing.release()
        return is_due

    def _is_due(self, now_ms: int) -> bool:
        return self.refreshed_ms is None or now_ms >= self.refreshed_ms + self._every_ms

    def begin(self, now_ms: int) -> None:
        """Take up what is there before the first step; later: nothing."""
        if self.refreshed_ms is None:
            with self._refreshing:
                if self.refreshed_ms is None:
                    self._take_up(now_ms)

    @torch.inference_mode()
    def _take_up(self, now_ms: int) -> None:
        tables, fresh = self._tables, self._recent.since(self._place)
        if self.refreshed_ms is None:
            self._begin(fresh.rows.times_ms_N)
        self._place = fresh.end
        self._map(fresh.ids, fresh.numbering)
        since_N = fresh.rows.times_ms_N >= tables.trained_ms
        before, rows = _chosen(fresh.rows, ~since_N), _chosen(fresh.rows, since_N)
        tables.decay(now_ms)
        if len(before) and not self._knows_counts:
            items_N, times_ms_N = self._items(before)
            tables.add_trained(items_N, times_ms_N)
            tables.count(items_N, times_ms_N)
        added = self._make_room(rows, fresh.ids) if self._between.new_items else []
        items_N, times_ms_N = self._items(rows)
        tables.count(items_N, times_ms_N)
        tables.notice(items_N)
        with self._stepper.lock.writing():
            moved = torch.tensor(added, dtype=torch.int64)
            if self._between.new_items:
                moved = torch.unique(torch.cat([moved, tables.place(*self._co_clicks(rows))]))
                self._list()
            tables.move()
            self._serve(moved)
        self.refreshed_ms = tables.now_ms

    def _begin(self, times_ms_N: Numbers) -> None:
        """Take over what the version knows of popularity, where too little was seen before its training."""
        enough_ms = self._tables.trained_ms - SEEN_HALF_LIVES * self._between.half_life_ms
        # But for a few late ones.
        is_seen = len(times_ms_N) > 0 and np.quantile(times_ms_N, OLDEST_SHARE) <= enough_ms
        if self._prior is not None and not is_seen:
            self._knows_counts = True
            counts_V = self._prior.counts_by(self._between.half_life_s) * self._share()
            self._tables.counts_V[: self._known] = counts_V
            self._tables.set_trained_counts(counts_V)

    def _map(self, ids: list[str], numbering: int) -> None:
        """Know the row of each number, -1 of one that has none."""
        if numbering != self._numbering:
            self._row_of, self._numbering = self._row_of[:0], numbering
        new = ids[len(self._row_of) :]
        index, candidates = self.vocabulary.index, self._candidates
        rows = [index.get(item_id, candidates.get(item_id, -1)) for item_id in new]
        self._row_of = np.r_[self._row_of, np.array(rows, np.int64)]

    def _items(self, rows: EventRows) -> tuple[Numbers, Numbers]:
        """Rows of the events' items and their times, of those that have a row."""
        items_N = self._row_of[rows.items_N]
        has_row_N = items_N >= 0
        return items_N[has_row_N], rows.times_ms_N[has_row_N]

    def _make_room(self, rows: EventRows, ids: list[str]) -> list[int]:
        """Give the unknown items of the events rows, as far as there are: → these."""
        unknown = np.unique(rows.items_N[self._row_of[rows.items_N] < 0])
        missing = len(unknown) - len(self._free)
        if missing > 0:
            self._forget(missing, rows)
        given: list[int] = []
        for number in unknown[: len(self._free)].tolist():
            row = self._free.pop()
            self._row_of[number] = self._candidates[ids[number]] = row
            given.append(row)
        self._rows = max([self._rows, *(row + 1 for row in given)])
        return given

    def _forget(self, count: int, rows: EventRows) -> None:
        """Free the rows of so many unlisted items, those that are seen least."""
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
        self._tables.forget(gone)
        self._row_of[np.isin(self._row_of, gone)] = -1

    def _co_clicks(self, rows: EventRows) -> tuple[Numbers, Numbers]:
        """Pairs of different items of one session, from either, of which the first is a new one."""
        items_N = self._row_of[rows.items_N]
        near_NC = np.where(rows.near_NC >= 0, self._row_of[rows.near_NC], -1)
        items_NC = np.broadcast_to(items_N[:, None], near_NC.shape)
        pairs_NC = (items_NC >= 0) & (near_NC >= 0) & (items_NC != near_NC)
        items, near = items_NC[pairs_NC], near_NC[pairs_NC]
        of_new, of_near = items >= self._known, near >= self._known
        return np.r_[items[of_new], near[of_near]], np.r_[near[of_new], items[of_near]]

    def _list(self) -> None:
        """Name the items that can be listed from now on."""
        can_step_V = self._tables.can_step_V.numpy()
        listed = [(item, row) for item, row in self._candidates.items() if can_step_V[row]]
        for item, row in listed:
            self.vocabulary.name(row, item)
            del self._candidates[item]

    def _serve(self, moved: torch.Tensor) -> None:
        tables, served = self._tables, slice(self._rows)
        self._stepper.take_tables(
            tables.input_VE[served], tables.output_VH[served], tables.bias_V[served], moved
        )


def _chosen(rows: EventRows, chosen_N: npt.NDArray[np.bool_]) -> EventRows:
    if chosen_N.all():
        return rows
    return EventRows(rows.times_ms_N[chosen_N], rows.items_N[chosen_N], rows.near_NC[chosen_N])


def _followable(model: ModelVersion, stepper: Stepper) -> GradientNetwork:
    network = stepper.network
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
    if isinstance(network, GradientNetwork) and stepper.device.type == "cpu":
        return network
    raise NextclickError(
        f"`follow` is set, and version {model.version} is a {type(network).__name__} on {stepper.device}",
        "Only the item tables of a network that learns by gradients are moved, and on a CPU.",
        "Set `follow` to none, or device to cpu, or serve another version.",
    )
