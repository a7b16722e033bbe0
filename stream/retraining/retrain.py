"""One retraining: read, split, train, evaluate, gate, finish, save, promote, announce, report.

Goes on from the champion with the events since. Every step leaves either nothing or something
whole, so that the process may be killed at any moment: the next run removes what is half-made,
carries out what the gate had already decided, and then begins its own. Whether a run ends with
a new champion or with a refusal, it says why, in a report of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from confluent_kafka.admin import AdminClient

from model.comparison.challenger import (
    Challenger,
    Split,
    challenge,
    contenders,
    finished,
    recalls_of,
    split_newest,
)
from model.comparison.gate import Decision, GateRule, decide, refused
from model.config import ModelConfig
from model.config_files import build_config
from model.errors import NextclickError
from model.memory import peak_memory_bytes
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.registry.registry import Registry
from stream.event_log.window import EventWindow, read_window
from stream.failpoints import reach
from stream.kafka.announcements import announce
from stream.kafka.topics import ensure_topics, partition_counts
from stream.retraining.lock import Accepted, RetrainLock, saved_by
from stream.retraining.options import Options
from stream.retraining.report import RunReport, write_report
from stream.settings import Settings

Bar = Callable[[str], AbstractContextManager[Callable[[float, float, str], None]]]


@contextmanager
def no_bar(title: str) -> Iterator[Callable[[float, float, str], None]]:
    """Shows nothing."""
    yield lambda done, total, text: None


def retrain(
    settings: Settings,
    options: Options,
    *,
    bar: Bar = no_bar,
    tell: Callable[[str], None] = lambda text: None,
) -> RunReport:
    """Run once; → its report, which lies beside the versions too.

    A refusal by the gate is a result. Raises NextclickError, after a report of it, when the run
    could not be made: the log or the champion cannot be read, the training diverged, the brokers
    do not take the announcement; and when another retraining of the registry is under way.
    """
    registry = Registry(settings.registry_dir)
    with RetrainLock(registry.root) as lock:
        reach("retrain-locked")
        now = datetime.now(UTC)
        report = RunReport(f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z")
        run = _Run(settings, options, registry, lock, report, bar, tell)
        try:
            run.prepare()
            run.carry_out()
        except (NextclickError, OSError) as error:
            report.outcome = "failed"
            told = error if isinstance(error, NextclickError) else disk_error(registry.root, error)
            report.error = [told.what, told.meaning, told.remedy]
            raise told from None
        finally:
            report.peak_memory_bytes = peak_memory_bytes()
            if report.outcome:
                report.folder = write_report(registry.root, report, settings.gate_margin)
                reach("retrain-reported")
    return report


def disk_error(folder: Path, error: OSError) -> NextclickError:
    """The error of a retraining of the registry in `folder` that a disk or its rights ended."""
    return NextclickError(
        f"a retraining in {folder} could not read or write a file: {error}",
        "The champion serves on.",
        "Make room, or look at the rights of the registry and of the archive.",
    )


@dataclass
class _Run:
    settings: Settings
    options: Options
    registry: Registry
    lock: RetrainLock
    report: RunReport
    bar: Bar
    tell: Callable[[str], None]

    @contextmanager
    def _step(self, name: str) -> Iterator[Callable[[float, float, str], None]]:
        """A named part of the run, with its bar and its times."""
        started, started_cpu = time.perf_counter(), time.process_time()
        with self.bar(name) as tell:
            yield tell
        self.report.seconds[name] = round(time.perf_counter() - started, 2)
        self.report.cpu_seconds[name] = round(time.process_time() - started_cpu, 2)

    def prepare(self) -> None:
        """Remove what a killed run left, carry out what it had decided, and look for the brokers."""
        if self.options.announce:
            admin = AdminClient({**self.settings.kafka_config(), "log_level": 0})
            if self.settings.models_topic not in partition_counts(admin, self.settings):
                ensure_topics(self.settings)
        for name in self.registry.remove_unfinished():
            self.tell(f"removed {name}, which a killed process left")
        before = self.lock.noted()
        if before is None:
            return
        version, champion = saved_by(self.registry, before.run), self.registry.champion()
        if version is None:
            self.tell(f"run {before.run} was interrupted before its version was saved; it is made anew")
        elif champion == version or (before.promote and champion == before.champion):
            self.tell(f"run {before.run} was interrupted; its accepted version {version} is taken up")
            if champion != version:
                self.registry.promote(version)
            if self.options.announce:
                announce(self.settings, version)
        else:
            self.tell(
                f"run {before.run} was interrupted; its version {version} is not promoted, {champion} serves"
            )
        self.lock.clear()

    def carry_out(self) -> None:
        """All steps, in order; the first refusal ends the run."""
        # Of the evaluation too: beside other busy processes torch's threads wait for each other.
        torch.set_num_threads(self.options.threads)
        report = self.report
        champion = self.registry.load() if self.registry.champion() else None
        report.champion = champion.version if champion else None
        config = self._config(champion)
        with self._step("read"):
            window = self._read(champion)
        reach("retrain-read")
        decision = self._too_little(window, champion)
        if decision is not None:
            self._end(decision)
            return
        last_ms = champion.manifest["data"].get("last_event_time_ms") if champion else None
        with self._step("split"):
            split = split_newest(window.frame, self.settings.gate_fraction, last_ms)
        report.split_ms = split.split_ms
        reach("retrain-split")
        challenger, decision = self._challenge(champion, config, split)
        if decision.accepted and self.options.finish:
            challenger, decision = self._finish(challenger, split, decision)
        if not decision.accepted:
            self._end(decision)
            return
        self._take_up(challenger, champion, window, split, decision)
        self._end(decision)

    def _read(self, champion: ModelVersion | None) -> EventWindow:
        window, report = self.options.window, self.report
        from_ms = window.from_ms
        if from_ms is None and window.offsets is None and champion is not None:
            last_ms = champion.manifest["data"].get("last_event_time_ms")
            from_ms = None if last_ms is None else last_ms + 1
        newest = window.newest_events
        if newest is None and window.offsets is None and window.from_ms is None:
            newest = self.settings.retrain_newest_events
        if from_ms is not None and window.until_ms is not None and from_ms >= window.until_ms:
            # The champion is of that time already: there is nothing to read.
            from_ms, newest = window.until_ms - 1, 1
        read = read_window(
            self.settings,
            from_ms=from_ms,
            until_ms=window.until_ms,
            newest_events=newest,
            offsets=window.offsets,
            archive=window.archive,
        )
        times_ms = read.frame["event_time_ms"]
        report.source = str(window.archive or self.settings.events_topic)
        report.events, report.offsets, report.rejected = len(times_ms), read.offsets, dict(read.rejected)
        if len(times_ms):
            report.first_event_time_ms, report.last_event_time_ms = int(times_ms.min()), int(times_ms.max())
        self.tell(f"read {report.events:,} events of {report.source}")
        return read

    def _too_little(self, window: EventWindow, champion: ModelVersion | None) -> Decision | None:
        """A refusal before any training, where there is nothing to learn or nothing to judge by."""
        frame, least = window.frame, self.settings.gate_min_sessions
        since = "since the champion's last" if champion else "in the window"
        if len(frame) < 2 or frame["item_id"].nunique() < 2:
            return refused(f"there are {len(frame):,} events {since}: nothing to learn from")
        held_out = len(frame) * self.settings.gate_fraction
        if held_out < 2 * least:
            return refused(
                f"there are {len(frame):,} events {since}, {held_out:,.0f} of them to judge by: they cannot "
                f"hold the {least:,} sessions of two events that are asked for"
            )
        return None

    def _config(self, champion: ModelVersion | None) -> ModelConfig:
        """The champion's, with the changes; raises NextclickError when they do not make one."""
        inherited = {}
        if champion is not None:
            inherited = {**champion.config.model_dump(), "epochs": self.settings.retrain_epochs}
        return build_config({**inherited, **self.options.changes})

    def _challenge(
        self, champion: ModelVersion | None, config: ModelConfig, split: Split
    ) -> tuple[Challenger, Decision]:
        settings, options = self.settings, self.options
        start = None
        if champion is not None and isinstance(champion.network, GradientNetwork):
            start = self.registry.warm_start(champion)
        with self._step("train") as tell:
            challenger = challenge(
                split,
                config,
                champion=champion.vocabulary if champion else None,
                start=start,
                threads=options.threads,
                tell=tell,
            )
        self.report.trained(challenger, len(champion.vocabulary) if champion else 0)
        reach("retrain-trained")
        with self._step("evaluate") as tell:
            own, reference, baselines = contenders(challenger, champion, split, tell=tell)
        reach("retrain-evaluated")
        rule = GateRule(settings.gate_margin, settings.gate_step_factor, settings.gate_min_sessions)
        with self._step("gate"):
            return challenger, decide(own, reference, baselines, rule)

    def _finish(
        self, challenger: Challenger, split: Split, decision: Decision
    ) -> tuple[Challenger, Decision]:
        """Learn the held-out events as well, and see that it did no harm on them."""
        with self._step("finish") as tell:
            whole = finished(challenger, split, threads=self.options.threads, tell=tell)
            before, after = recalls_of([challenger, whole], split)
        self.report.finished(whole, after)
        reach("retrain-finished")
        reasons = []
        if whole.not_finite:
            reasons.append(f"weights that are no numbers: {', '.join(whole.not_finite)}")
        if after < before - self.settings.gate_margin:
            reasons.append(
                f"having learned from the held-out events too, its Recall@20 on them is {after:.4f}, "
                f"where it was {before:.4f} before"
            )
        if reasons:
            decision = Decision(
                False, reasons, decision.notes, decision.standings, decision.targets, decision.sessions
            )
        return whole, decision

    def _take_up(
        self,
        challenger: Challenger,
        champion: ModelVersion | None,
        window: EventWindow,
        split: Split,
        decision: Decision,
    ) -> None:
        """Save the version, make it the champion, announce it."""
        report, options = self.report, self.options
        before = champion.version if champion else None
        with self._step("save"):
            self.lock.note(Accepted(report.run, before, options.promote))
            reach("retrain-accepted")
            learned = split.frame if options.finish else split.earlier
            saved = self.registry.save(
                challenger.network,
                challenger.config,
                challenger.vocabulary,
                scores=report.scores(decision),
                data={
                    "run": report.run,
                    "champion": before,
                    "source": report.source,
                    "offsets": {str(n): [first, end] for n, (first, end) in window.offsets.items()},
                    "events": len(learned),
                    "first_event_time_ms": int(learned["event_time_ms"].min()),
                    # No stamp that is ahead of the wall: the next run begins behind this one.
                    "last_event_time_ms": min(int(learned["event_time_ms"].max()), int(time.time() * 1000)),
                },
                optimizer_state=challenger.optimizer_state or None,
            )
        report.version = saved.version
        reach("retrain-saved")
        if options.promote:
            with self._step("promote"):
                report.promoted = self.registry.succeed(saved.version, before)
            reach("retrain-promoted")
            if not report.promoted:
                self.tell(
                    f"{saved.version} is saved and not promoted: {self.registry.champion()} serves now, "
                    f"and it was held to {before}"
                )
            elif options.announce:
                with self._step("announce"):
                    announce(self.settings, saved.version)
                reach("retrain-announced")
        self.lock.clear()

    def _end(self, decision: Decision) -> None:
        self.report.decision = decision
        self.report.outcome = "accepted" if decision.accepted else "refused"
