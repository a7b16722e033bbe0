"""One retraining: read, split, train, evaluate, gate, finish, save, promote, announce, report.

Trains the champion on with the events since its last one. Each step leaves nothing or something
whole, so the process may be killed at any moment: the next run completes what the gate had already
accepted (see `unfinished_run`) before it begins. Every run writes a report that says why its version
was accepted or refused.

Tested by tests/integration/test_retrain.py and tests/faults/test_retrain.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from model.comparison.challenger import (
    Split,
    challenge,
    contenders,
    finished,
    recalls_of,
    split_newest,
)
from model.comparison.gate import Decision, GateRule, decide, refused
from model.config import ModelConfig
from model.data.event_filter import EventFilter
from model.device import choose_device
from model.errors import NextclickError
from model.memory import peak_memory_bytes
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.training.run_options import RunOptions
from model.training.trained_model import TrainedModel
from stream.event_log.window import EventWindow, read_window
from stream.failpoints import reach
from stream.kafka.announcements import announce
from stream.retraining.learned_data import chosen_events, learned_data
from stream.retraining.lock import RetrainLock
from stream.retraining.options import RetrainOptions
from stream.retraining.report import RunReport, write_report
from stream.retraining.unfinished_run import AcceptedRun, complete_unfinished_run, remove_note, write_note
from stream.settings import Settings

# Called with what is done, what there is to do, and a text.
Progress = Callable[[float, float, str], None]
ProgressBar = Callable[[str], AbstractContextManager[Progress]]


@contextmanager
def no_bar(title: str) -> Iterator[Progress]:
    """Shows nothing."""
    yield lambda done, total, text: None


def retrain(
    settings: Settings,
    options: RetrainOptions,
    *,
    bar: ProgressBar = no_bar,
    notify: Callable[[str], None] = lambda text: None,
) -> RunReport:
    """Retrain once. Returns the report, which is also written to the registry's folder.

    A refusal by the gate is a result, no error. Raises NextclickError, after it is reported, when the
    log or the champion cannot be read, the training diverges, or the brokers refuse the announcement;
    and, without a report, when another retraining of the registry is under way.
    """
    registry = Registry(settings.registry_dir)
    with RetrainLock(registry.root):
        reach("retrain-locked")
        now = datetime.now(UTC)
        report = RunReport(f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z")
        run = _Run(settings, options, registry, report, bar, notify)
        try:
            complete_unfinished_run(settings, registry, announcing=options.announce, notify=notify)
            run.execute()
        except (NextclickError, OSError) as error:
            report.outcome = "failed"
            explained = error if isinstance(error, NextclickError) else disk_error(registry.root, error)
            report.error = [explained.what, explained.meaning, explained.remedy]
            raise explained from None
        finally:
            report.peak_memory_bytes = peak_memory_bytes()
            if report.outcome:
                report.folder = write_report(registry.root, report, settings.gate_margin)
                reach("retrain-reported")
    return report


def disk_error(folder: Path, error: OSError) -> NextclickError:
    """The error of a retraining that ended because a file of the registry could not be read or written."""
    return NextclickError(
        f"a retraining in {folder} could not read or write a file: {error}",
        "The champion serves on.",
        "Make room, or look at the rights of the registry and of the archive.",
    )


@dataclass
class _Run:
    settings: Settings
    options: RetrainOptions
    registry: Registry
    report: RunReport
    bar: ProgressBar
    notify: Callable[[str], None]
    wanted: EventFilter | None = None
    earlier: Mapping[str, Any] | None = None

    @contextmanager
    def _step(self, name: str) -> Iterator[Progress]:
        """A named part of the run: shows a progress bar, and enters its wall and CPU seconds."""
        started, started_cpu = time.perf_counter(), time.process_time()
        with self.bar(name) as progress:
            yield progress
        self.report.seconds[name] = round(time.perf_counter() - started, 2)
        self.report.cpu_seconds[name] = round(time.process_time() - started_cpu, 2)

    def execute(self) -> None:
        """Run all steps, in order; the first refusal ends the run."""
        # The evaluation's threads too: beside other busy processes torch's threads wait for each other.
        torch.set_num_threads(self.options.threads)
        report = self.report
        champion = self.registry.load() if self.registry.champion() else None
        report.champion = champion.version if champion else None
        self.earlier = champion.manifest["data"] if champion else None
        config = self.options.config(champion, self.settings.retrain_epochs)
        with self._step("read"):
            window = self._read(champion)
        reach("retrain-read")
        decision = self._refuse_little_data(window, champion)
        if decision is not None:
            self._enter(decision)
            return
        last_ms = champion.manifest["data"].get("last_event_time_ms") if champion else None
        with self._step("split"):
            split = split_newest(window.frame, self.settings.gate_fraction, last_ms)
        report.split_ms = split.split_ms
        reach("retrain-split")
        challenger, decision = self._challenge(champion, config, split)
        if decision.accepted and self.options.finish:
            challenger, decision = self._learn_held_out(challenger, split, decision)
        if decision.accepted:
            self._save_and_promote(challenger, report.champion, window, split, decision)
        self._enter(decision)

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
            # The champion has learned all events before `until_ms` already: there is nothing to read.
            from_ms, newest = window.until_ms - 1, 1
        read = read_window(
            self.settings,
            from_ms=from_ms,
            until_ms=window.until_ms,
            newest_events=newest,
            offsets=window.offsets,
            archive=window.archive,
            decoder=window.decoder,
        )
        read, self.wanted = chosen_events(read, champion, self.options.choose, self.notify)
        times_ms = read.frame["event_time_ms"]
        report.source = str(window.archive or self.settings.events_topic)
        report.events, report.offsets = len(times_ms), read.offsets
        report.rejected, report.left_out = dict(read.rejected), dict(read.left_out)
        if len(times_ms):
            report.first_event_time_ms, report.last_event_time_ms = int(times_ms.min()), int(times_ms.max())
        self.notify(f"read {report.events:,} events of {report.source}")
        return read

    def _refuse_little_data(self, window: EventWindow, champion: ModelVersion | None) -> Decision | None:
        """A refusal before any training when the events are too few to learn from or to evaluate with."""
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

    def _run(self, notify: Progress) -> RunOptions:
        return RunOptions(
            threads=self.options.threads,
            progress=lambda done: notify(done.done, done.whole, str(done)),
            device=choose_device(self.settings.device),
        )

    def _challenge(
        self, champion: ModelVersion | None, config: ModelConfig, split: Split
    ) -> tuple[TrainedModel, Decision]:
        settings = self.settings
        start = None
        if champion is not None and champion.network.goes_on:
            start = self.registry.warm_start(champion)
        with self._step("train") as progress:
            challenger = challenge(
                split,
                config,
                champion=champion.vocabulary if champion else None,
                start=start,
                run=self._run(progress),
            )
        self.report.add_training(challenger, len(champion.vocabulary) if champion else 0)
        reach("retrain-trained")
        with self._step("evaluate") as progress:
            own, reference, baselines = contenders(challenger, champion, split, notify=progress)
        reach("retrain-evaluated")
        rule = GateRule(settings.gate_margin, settings.gate_step_factor, settings.gate_min_sessions)
        with self._step("gate"):
            return challenger, decide(own, reference, baselines, rule)

    def _learn_held_out(
        self, challenger: TrainedModel, split: Split, decision: Decision
    ) -> tuple[TrainedModel, Decision]:
        """Train on the held-out events too; refuse if their Recall@20 falls by more than the margin."""
        with self._step("finish") as progress:
            whole = finished(challenger, split, run=self._run(progress))
            before, after = recalls_of([challenger, whole], split)
        self.report.add_held_out_training(whole, after)
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

    def _save_and_promote(
        self,
        challenger: TrainedModel,
        before: str | None,
        window: EventWindow,
        split: Split,
        decision: Decision,
    ) -> None:
        """Save the version, make it the champion, announce it."""
        report, options = self.report, self.options
        waits_for = self.settings.gate_over(before)
        promotes = options.promote and waits_for == "none"
        with self._step("save"):
            write_note(self.registry.root, AcceptedRun(report.run, before, promotes))
            reach("retrain-accepted")
            learned = split.frame if options.finish else split.earlier
            saved = self.registry.save(
                challenger,
                scores=report.scores(decision),
                data=learned_data(report, window, learned, self.wanted, self.earlier),
            )
        report.version = saved.version
        reach("retrain-saved")
        if options.promote and not promotes:
            report.waits_for = waits_for
            self.notify(
                f"{saved.version} is saved and waits for an experiment (gate_experiment is {waits_for}): "
                f"`nextclick experiment start {saved.version}`, then "
                f"`nextclick promote {saved.version} --until-it-leads`"
            )
        if promotes:
            with self._step("promote"):
                report.promoted = self.registry.succeed(saved.version, before)
            reach("retrain-promoted")
            if not report.promoted:
                self.notify(
                    f"{saved.version} is saved and not promoted: {self.registry.champion()} serves now, "
                    f"and it was held to {before}"
                )
            elif options.announce:
                with self._step("announce"):
                    announce(self.settings, saved.version)
                reach("retrain-announced")
        remove_note(self.registry.root)

    def _enter(self, decision: Decision) -> None:
        self.report.decision = decision
        self.report.outcome = "accepted" if decision.accepted else "refused"
