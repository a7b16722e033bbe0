"""The version in service, and the hot swap to another one between two waves.

A version is loaded, verified and warmed up before it is offered; the step threads switch to it at the
start of a wave. Knows the registry; knows no network by name.
Tested by tests/unit/stream/wave/test_freshness.py and tests/faults/test_swap.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from model.config import LIST_LENGTH
from model.data.event_filter import EventFilter
from model.data.learned_events import LearnedEvents
from model.data.session_rule import SessionRule
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.freshness.moving_tables import FreshnessConfig
from model.freshness.recent_events import RecentEvents
from model.freshness.refresher import TableRefresher
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.registry.version_files import NOT_FINITE, RefusedVersion, described
from model.stepping.finite_scores import gives_numbers
from model.stepping.stepper import Stepper
from stream.catalogue.catalogue import Catalogue
from stream.experiments.experiment import Experiment
from stream.experiments.in_service import VersionsOfWave
from stream.logs import happening
from stream.session_gaps import check_session_gap
from stream.sessions.session_state import SessionState
from stream.settings import Settings
from stream.wave.listable_items import MOST_HIDDEN, ListableItems
from stream.wave.withdrawn_versions import WithdrawnVersions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServingModel:
    """A warmed-up version; immutable, so that a wave uses exactly one.

    Only its `refresher` changes its item tables and vocabulary, and `listable` which items its lists
    may have, between two steps.
    """

    version: str
    stepper: Stepper
    vocabulary: Vocabulary
    rule: SessionRule
    trained_without_seen: bool
    columns: tuple[str, ...]
    recent_items: int
    listable: ListableItems
    refresher: TableRefresher | None = None
    trained_until_ms: int | None = None
    trained_on: EventFilter = field(default_factory=EventFilter)
    learned: LearnedEvents = field(default_factory=LearnedEvents)

    @property
    def excludes_session_items(self) -> bool:
        """Whether lists are without the session's own items: as the rules say, else as in training."""
        by_rule = self.listable.leaves_out_seen
        return self.trained_without_seen if by_rule is None else by_rule

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of events that it learned from; empty: all, or not recorded."""
        return frozenset(self.trained_on.kinds)

    @cached_property
    def blank_row(self) -> bytes:
        """The packed hidden state of a session without events."""
        return self.stepper.initial_rows(1).tobytes()

    def hidden_from(self, state: SessionState) -> list[str]:
        """The items that a session has chosen, or its user has bought, and is not shown again."""
        chosen = state.chosen(self.listable.hidden_kinds) if state.choices else []
        return chosen + self.listable.bought_by(state.user_id, state.last_event_time_ms)

    def popular_list(
        self, session_items: list[str], hidden: Collection[str] = ()
    ) -> tuple[list[str], npt.NDArray[np.float32]]:
        """The top-20 of POP for a session, under the version's mask and without `hidden`: ids and scores."""
        return self.listable.popular_list(self._masked(session_items, hidden))

    def popular_rank(
        self, item_id: str, session_items: list[str], hidden: Collection[str] = ()
    ) -> int | None:
        """The item's rank, from 1, in POP's list for a session; None when it is not in the top-20."""
        return self.listable.popular.rank_without(item_id, self._masked(session_items, hidden))

    def obeyed_list(
        self,
        items: list[str],
        scores: npt.NDArray[np.float32],
        session_items: list[str],
        hidden: Collection[str] = (),
        *,
        is_new: bool,
    ) -> tuple[list[str], npt.NDArray[np.float32]]:
        """A session's list as the catalogue and its choices allow it, see `ListableItems.obeyed`."""
        masked = self._masked(session_items, hidden)
        return self.listable.obeyed(items, scores, masked, hidden, is_new=is_new)

    def _masked(self, session_items: list[str], hidden: Collection[str]) -> set[str]:
        return {*session_items, *hidden} if self.excludes_session_items else set(hidden)


InService = VersionsOfWave[ServingModel]


class ModelSlot:
    """Holds the version in service; `offer` replaces it for the waves to come.

    `recent` are the events that refresh versions, None where `follow` is none; `share` is the part of
    all events that this worker reads; `serving_since_s` is the wall time of the newest swap; `champion` is
    the version that the registry named last, None while it cannot be read. Every version obeys the
    `catalogue`, and must end sessions by the silence `log_gap_s` that the log's mapping says, if it does.
    """

    def __init__(
        self, settings: Settings, catalogue: Catalogue | None = None, log_gap_s: float | None = None
    ) -> None:
        self._settings, self.log_gap_s = settings, log_gap_s
        self.catalogue = catalogue or Catalogue()
        self._registry = Registry(Path(settings.registry_dir))
        self._withdrawn = WithdrawnVersions(settings.state_dir)
        self._in_service: InService | None = None
        # The newest announced; it may wait for its champion, or be refused.
        self.announced: Experiment | None = None
        self._freshness = FreshnessConfig.of(settings.follow)
        self.recent = None if self._freshness.is_frozen else RecentEvents(settings.follow_events)
        self.share, self.swaps, self.serving_since_s = 1.0, 0, 0.0
        self.champion: str | None = None
        self.topic_id = ""  # of `events`, "" until it is known
        # Of the versions that served in this process: lists of the one before are scored after a swap.
        self._learned: dict[str, LearnedEvents] = {}

    def has_learned(self, version: str, partition: int, offset: int, time_ms: int) -> bool:
        """Whether the version in service, or the one that made a list, has learned from an event."""
        current = self.current
        if current.learned.has(partition, offset, time_ms, self.topic_id):
            return True
        made_by = None if version == current.version else self._learned.get(version)
        return made_by is not None and made_by.has(partition, offset, time_ms, self.topic_id)

    @property
    def in_service(self) -> InService:
        """What serves the next wave. Raises RuntimeError before the first version does."""
        if self._in_service is None:
            raise RuntimeError("no model version is in service yet")
        return self._in_service

    @property
    def current(self) -> ServingModel:
        """The version in service, in an experiment the champion. Raises RuntimeError before the first one."""
        return self.in_service.champion

    @property
    def ready(self) -> bool:
        """Whether a warmed-up version is in service."""
        return self._in_service is not None

    def experiment(self, experiment: Experiment | None, challenger: ServingModel | None = None) -> None:
        """Begin an experiment of the version in service from the next wave on; None ends it."""
        self._in_service = InService(self.current, challenger, experiment)
        if challenger is not None:
            self._learned[challenger.version] = challenger.learned

    def experiment_report(self) -> dict[str, object] | None:
        """The announced experiment, and whether it is served here; None without one."""
        if self.announced is None:
            return None
        is_served = self.ready and self.in_service.experiment == self.announced
        return {**msgspec.to_builtins(self.announced), "served": is_served}

    def prepare(self, version: str | None = None, *, any_gap: bool = False) -> ServingModel:
        """Load, verify and warm up a version (None: the champion); `any_gap`: whatever ends its sessions.

        Raises NextclickError, whatever goes wrong: the version that serves goes on.
        """
        name = version or self._registry.champion() or ""
        self._withdrawn.check(name)
        model = self._registry.load(name or None)
        check_session_gap(None if any_gap else self.log_gap_s, model.config.session_gap_s, model.version)
        return self.warm(model)

    def warm(self, model: ModelVersion) -> ServingModel:
        """Make a loaded model ready to serve.

        Raises RefusedVersion when scores are not finite, NextclickError for whatever else goes wrong.
        """
        try:
            return self._warm(model)
        except NextclickError:
            raise
        except Exception as error:
            # A model that fails here would end the worker at its first event.
            raise NextclickError(
                f"version {model.version} cannot be warmed up: {described(error)}",
                "It would fail at its first event; whatever served before goes on.",
                "Promote another version, or train again.",
            ) from error

    def _warm(self, model: ModelVersion) -> ServingModel:
        settings = self._settings
        stepper = Stepper(
            model,
            device=settings.device,
            k=LIST_LENGTH,
            wave_size=settings.wave_size,
            deterministic=settings.deterministic,
            scoring=settings.scoring,
        )
        stepper.warm_up()
        if not gives_numbers(model.network, stepper):
            raise RefusedVersion(
                NOT_FINITE,
                f"version {model.version} gives scores that are no numbers",
                "Its lists would be in no order; whatever served before goes on.",
                "Promote another version, or train again.",
            )
        refresher = self._refresher_of(model, stepper)
        vocabulary = model.vocabulary if refresher is None else refresher.vocabulary
        serving = ServingModel(
            version=model.version,
            stepper=stepper,
            vocabulary=vocabulary,
            rule=SessionRule(model.config.session_gap_s, settings.allowed_lateness_s),
            trained_without_seen=model.config.exclude_session_items,
            columns=tuple(name for name in model.network.columns if name != "item"),
            recent_items=settings.recent_items,
            listable=ListableItems(stepper, vocabulary, self.catalogue, settings.recent_items + MOST_HIDDEN),
            refresher=refresher,
            learned=LearnedEvents.of(model.manifest.get("data", {}), settings.events_topic),
            trained_on=EventFilter.recorded(model.manifest.get("data", {})) or EventFilter(),
            trained_until_ms=model.manifest.get("data", {}).get("last_event_time_ms"),
        )
        _ = serving.blank_row  # Computed here: at its first use a wave would wait for it.
        return serving

    def _refresher_of(self, model: ModelVersion, stepper: Stepper) -> TableRefresher | None:
        """The refresher of a version, with the recent events applied; None where `follow` is none."""
        if self.recent is None:
            return None
        refresher = TableRefresher(
            model,
            stepper,
            self._freshness,
            self.recent,
            room=self._settings.follow_items,
            every_ms=int(self._settings.follow_every_s * 1000),
            share=lambda: self.share,
        )
        before = self.current.refresher if self.ready else None
        if before is not None and before.refreshed_ms is not None:
            refresher.refresh(before.refreshed_ms)
        return refresher

    def offer(self, serving: ServingModel) -> None:
        """Put a version into service from the next wave on; the experiment of the one before ends with it."""
        before = self.current.version if self.ready else "none"
        self.swaps += self.ready
        self._in_service, self.serving_since_s = InService(serving), time.time()
        self._learned[serving.version] = serving.learned
        device = str(serving.stepper.device)
        logger.info(
            "model %s serves now (before: %s) on %s",
            serving.version,
            before,
            device,
            extra=happening("model_serves", version=serving.version, before=before, device=device),
        )
        if not serving.learned.is_recorded:
            logger.warning(
                "the manifest of model %s does not record up to which event it learned: its quality may "
                "contain events that it has learned from",
                serving.version,
                extra=happening("learned_events_unknown", version=serving.version),
            )
        if serving.trained_on:
            logger.warning(
                "model %s was trained on events %s only; this worker steps the events of every kind and "
                "category, and lists after each: keep the others out of its topic if they should not count",
                serving.version,
                serving.trained_on,
                extra=happening(
                    "model_of_some_events", version=serving.version, trained_on=serving.trained_on.as_dict()
                ),
            )
