"""Switches versions: follows announcements, refuses versions that cannot serve, and rolls back.

A version is loaded, verified and warmed up beside the one in service; the step threads switch
between two waves. A refusal is counted by reason and logged, and changes nothing. After a promotion the
former champion steps on in the shadow. When its 95 % confidence sequence shows it better, CHAMPION is
set back to it, if it still names the new version, and the rollback is announced. Any worker may do so:
the pointer moves once, and a repeated announcement changes nothing. An experiment runs while the champion
that it names serves; a challenger that cannot serve refuses it, and the champion serves every session.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from model.errors import NextclickError
from model.registry.registry import Registry
from model.registry.version_files import RefusedVersion, described
from stream.experiments.experiment import decode_experiment
from stream.kafka.announcements import (
    EXPERIMENT_KEY,
    SHADOW_KEY,
    announce,
    decode_announcement,
    decode_shadow,
)
from stream.logs import happening
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.wave.shadow import CHALLENGER, FORMER, Shadow, ShadowTrial
from stream.worker.counters import ANNOUNCEMENT, UNSERVABLE, WorkerCounters

READ_CHAMPION_S = 5.0
logger = logging.getLogger(__name__)


class ModelSwitch:
    """Follows one worker's announcements, one at a time, and watches over promotions."""

    def __init__(self, settings: Settings, live: ModelSlot, shadow: Shadow, counters: WorkerCounters) -> None:
        self._settings = settings
        self._live = live
        self._shadow = shadow
        self._registry = Registry(Path(settings.registry_dir))
        self._known_until: Sequence[int] = ()
        self._rolled_back: ShadowTrial | None = None
        self._counters = counters
        self._next_reading_s = 0.0

    def on_announcement(self, key: bytes | None, value: bytes | None) -> None:
        """Switch to the announced version, start its shadow trial or the experiment, or refuse it."""
        try:
            if key == SHADOW_KEY:
                self._start_trial(value)
            elif key == EXPERIMENT_KEY:
                self._announce_experiment(value)
            else:
                self._switch_to(decode_announcement(value).version)
        except msgspec.DecodeError as error:
            self._refuse(ANNOUNCEMENT, f"an announcement that cannot be read was refused: {error}")
        except NextclickError as error:
            self._refuse(_reason(error), f"announced version refused: {error.what}")
        except Exception as error:  # noqa: BLE001 - no announcement ends a worker that serves
            self._refuse(UNSERVABLE, f"announced version refused: {described(error)}")

    def begin_with(
        self, kept: Mapping[bytes, bytes], known_until: Sequence[int], refused: Iterable[NextclickError]
    ) -> None:
        """Count the versions that were refused at the start, which the log has already; begin the experiment.

        Of the records of `models` below `known_until`, by partition, `kept` has the newest by key. Before
        the first wave, since the side of each session must be known then.
        """
        self._known_until = known_until
        for error in refused:
            self._counters.add_refused_version(_reason(error), error.what)
        if EXPERIMENT_KEY in kept:
            self.on_announcement(EXPERIMENT_KEY, kept[EXPERIMENT_KEY])

    def is_news(self, key: bytes | None, partition: int, offset: int, is_recent: bool) -> bool:
        """Whether a record of `models` is to be followed.

        The champion at the start is newer than earlier announcements; one that was made while the worker
        started, `is_recent`, must not be missed.
        """
        if key not in (SHADOW_KEY, EXPERIMENT_KEY):
            return is_recent
        known = self._known_until[partition] if partition < len(self._known_until) else 0
        return offset >= known

    def review(self) -> None:
        """Roll back when the former champion is better; end the trial when enough sessions show nothing.

        Notes, every READ_CHAMPION_S, which version the registry names as champion.
        """
        self._read_champion()
        try:
            self._shadow.step_waiting()
        except NextclickError as error:
            self._refuse(UNSERVABLE, f"shadow ended: {error.what}")
        trial = self._shadow.trial
        if trial is None or trial.role != FORMER or trial is self._rolled_back:
            return
        found = self._shadow.report()
        if found is None or found["sessions"] < self._settings.rollback_min_sessions:
            return
        if found["recall_difference"][1] > 0:
            self._roll_back(trial, found)
        elif found["sessions"] >= self._settings.rollback_max_sessions:
            logger.info(
                "the promotion of %s stands: %s",
                trial.champion,
                found,
                extra=happening("promotion_stands", champion=trial.champion, found=found),
            )
            self._shadow.trial = None

    def _read_champion(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_reading_s:
            return
        self._next_reading_s = now_s + READ_CHAMPION_S
        try:
            self._live.champion = self._registry.champion()
        except (OSError, NextclickError) as error:
            if self._live.champion is not None:
                logger.warning(
                    "the registry cannot be read: %s; the version in service goes on",
                    error,
                    extra=happening("registry_unreadable", error=str(error)),
                )
            self._live.champion = None

    def _roll_back(self, trial: ShadowTrial, found: dict[str, object]) -> None:
        former = trial.serving.version
        try:
            if self._registry.go_back(former, instead_of=trial.champion):
                self._counters.add_rollback()
                logger.warning(
                    "%s is worse than %s, rolled back: %s",
                    trial.champion,
                    former,
                    found,
                    extra=happening("rolled_back", champion=trial.champion, back_to=former, found=found),
                )
            if self._registry.champion() == former:
                announce(self._settings, former)
            self._rolled_back = trial
        except RefusedVersion as error:
            logger.error(
                "%s is worse than %s, which cannot serve: %s",
                trial.champion,
                former,
                error.what,
                extra=happening("rollback_impossible", version=trial.champion, back_to=former),
            )
            self._shadow.trial = None
        except (OSError, ValueError) as error:
            # The registry may be read-only for workers, or its line of champions was rewritten by hand.
            logger.error(
                "%s is worse than %s, and the registry cannot be changed: %s",
                trial.champion,
                former,
                error,
                extra=happening("rollback_impossible", version=trial.champion, back_to=former),
            )
            self._shadow.trial = None
        except NextclickError as error:
            logger.error(
                "the rollback to %s is to be told again: %s",
                former,
                error.what,
                extra=happening("rollback_not_announced", back_to=former),
            )

    def _switch_to(self, version: str) -> None:
        before = self._live.current
        if version == before.version:
            return
        trial = self._shadow.trial
        # A version in the shadow is warm already.
        known = trial is not None and trial.serving.version == version
        challenger = self._live.in_service.challenger
        if trial is not None and known:
            serving = trial.serving
        elif challenger is not None and challenger.version == version:
            serving = challenger
        else:
            serving = self._live.prepare(version)
        # Made before the change: a registry that cannot be read refuses the version as a whole.
        next_trial = self._trial_of_former(before, serving)
        self._live.offer(serving)
        self._shadow.trial = next_trial
        self._follow_experiment()

    def _trial_of_former(self, former: ServingModel, serving: ServingModel) -> ShadowTrial | None:
        """A trial of the former champion after a promotion; None where no rollback is possible or wanted.

        Where another silence ended the former's sessions, workers would refuse to go back to it.
        """
        share = self._settings.rollback_share
        may_go_back = self._registry.champion() == serving.version and former.rule == serving.rule
        if share and may_go_back and former.version in self._registry.champions.before():
            return ShadowTrial(former, serving.version, share, FORMER)
        return None

    def _start_trial(self, value: bytes | None) -> None:
        announced = decode_shadow(value)
        if announced is None:
            self._shadow.trial = None
            return
        champion = self._live.current.version
        if announced.version == champion:
            logger.info(
                "%s serves already, it needs no shadow",
                champion,
                extra=happening("shadow_needless", version=champion),
            )
            return
        challenger = self._live.prepare(announced.version)
        self._shadow.trial = ShadowTrial(challenger, champion, announced.share, CHALLENGER)
        logger.info(
            "%s steps in the shadow of %s, share %s",
            announced.version,
            champion,
            announced.share,
            extra=happening(
                "shadow_begins", version=announced.version, champion=champion, share=announced.share
            ),
        )

    def _announce_experiment(self, value: bytes | None) -> None:
        # What was announced before is over, also where this cannot be read.
        self._live.announced = None
        try:
            self._live.announced = decode_experiment(value)
        finally:
            self._follow_experiment()

    def _follow_experiment(self) -> None:
        """Begin the announced experiment if its champion serves, end the one that runs if it is another."""
        announced, now = self._live.announced, self._live.in_service
        if now.experiment == announced:
            return
        if now.experiment is not None:
            self._live.experiment(None)
            logger.info(
                "experiment %s has ended, %s serves every session",
                now.experiment.experiment,
                now.champion.version,
                extra=happening("experiment_ends", experiment=now.experiment.experiment),
            )
        if announced is None:
            return
        names = msgspec.to_builtins(announced)
        if announced.champion != now.champion.version:
            logger.warning(
                "experiment %s is of champion %s, and %s serves: it waits, and %s serves every session",
                announced.experiment,
                announced.champion,
                now.champion.version,
                now.champion.version,
                extra=happening("experiment_waits", serving=now.champion.version, **names),
            )
            return
        challenger = self._live.prepare(announced.challenger)
        if challenger.rule != now.champion.rule:
            raise NextclickError(
                f"experiment {announced.experiment}: {announced.challenger} ends sessions after "
                f"{challenger.rule.gap_s:g} s of silence, the champion after {now.champion.rule.gap_s:g} s",
                "What a session is would depend on its side, so nothing could be compared.",
                "Train the challenger with the champion's session gap.",
            )
        self._live.experiment(announced, challenger)
        logger.info(
            "experiment %s runs: %s of champion %s and %s, share %s",
            announced.experiment,
            announced.mode,
            announced.champion,
            announced.challenger,
            announced.share,
            extra=happening("experiment_begins", **names),
        )

    def _refuse(self, reason: str, what: str) -> None:
        self._counters.add_refused_version(reason, what)
        logger.error(
            "%s; %s goes on",
            what,
            self._live.current.version,
            extra=happening("version_refused", reason=reason, serving=self._live.current.version),
        )


def _reason(error: NextclickError) -> str:
    return error.reason if isinstance(error, RefusedVersion) else UNSERVABLE
