"""Which version serves next: takes up what is announced, refuses what cannot serve, and goes back.

A version is loaded, verified and warmed up beside the one that serves; the step threads change
over between two waves. What is refused is counted by reason and logged, and changes nothing.
After a promotion the former champion steps on in the shadow; when it is surely better, CHAMPION is
pointed back at it, if it still names the new one, and that is announced. Any worker that is
sure may do so: the pointer moves once, and hearing twice who serves changes nothing.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from model.errors import NextclickError
from model.registry.registry import Registry
from model.registry.version_files import RefusedVersion
from stream.kafka.announcements import SHADOW_KEY, announce, decode_announcement, decode_shadow
from stream.logs import happening
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.wave.shadow import CHALLENGER, FORMER, Shadow, ShadowTrial
from stream.worker.counters import ANNOUNCEMENT, UNSERVABLE, WorkerCounters

logger = logging.getLogger(__name__)


class ModelSwitch:
    """The announcements of one worker, heard one at a time, and the guard over a promotion."""

    def __init__(self, settings: Settings, live: ModelSlot, shadow: Shadow, counters: WorkerCounters) -> None:
        self._settings = settings
        self._live = live
        self._shadow = shadow
        self._registry = Registry(Path(settings.registry_dir))
        self._told: ShadowTrial | None = None
        self._counters = counters

    def hear(self, key: bytes | None, value: bytes | None) -> None:
        """Follow an announcement, or refuse it."""
        try:
            if key == SHADOW_KEY:
                self._hear_shadow(value)
            else:
                self._take_up(decode_announcement(value).version)
        except msgspec.DecodeError as error:
            self._refuse(ANNOUNCEMENT, f"an announcement that cannot be read was refused: {error}")
        except RefusedVersion as error:
            self._refuse(error.reason, f"announced version refused: {error.what}")
        except NextclickError as error:
            self._refuse(UNSERVABLE, f"announced version refused: {error.what}")

    def review(self) -> None:
        """Go back to the former champion when it is surely better; let the promotion stand after enough."""
        self._shadow.step_waiting()
        trial = self._shadow.trial
        if trial is None or trial.role != FORMER or trial is self._told:
            return
        found = self._shadow.report()
        if found is None or found["sessions"] < self._settings.rollback_min_sessions:
            return
        if found["recall_difference"][1] > 0:
            self._go_back(trial, found)
        elif found["sessions"] >= self._settings.rollback_max_sessions:
            logger.info(
                "the promotion of %s stands: %s",
                trial.champion,
                found,
                extra=happening("promotion_stands", champion=trial.champion, found=found),
            )
            self._shadow.trial = None

    def _go_back(self, trial: ShadowTrial, found: dict[str, object]) -> None:
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
            self._told = trial
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
            # Workers may be allowed to read the registry only; or somebody rewrote its line of champions.
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

    def _take_up(self, version: str) -> None:
        before = self._live.current
        if version == before.version:
            return
        trial = self._shadow.trial
        # It is warm already when it steps in the shadow.
        known = trial is not None and trial.serving.version == version
        self._live.offer(trial.serving if trial is not None and known else self._live.prepare(version))
        self._shadow.trial = self._guard(before, version)

    def _guard(self, former: ServingModel, version: str) -> ShadowTrial | None:
        """A trial of the former champion, where it can be gone back to."""
        share = self._settings.rollback_share
        promoted = self._registry.champion() == version
        if share and promoted and former.version in self._registry.champions.before():
            return ShadowTrial(former, version, share, FORMER)
        return None

    def _hear_shadow(self, value: bytes | None) -> None:
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

    def _refuse(self, reason: str, what: str) -> None:
        self._counters.add_refused_version(reason)
        logger.error(
            "%s; %s goes on",
            what,
            self._live.current.version,
            extra=happening("version_refused", reason=reason, serving=self._live.current.version),
        )
