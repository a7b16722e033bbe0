"""The report of a retraining: for people (Markdown, plot) and for programs (JSON).

Reports lie in the registry's folder `reports`, one folder for each run, written whole.

Tested by tests/integration/test_retrain.py and tests/unit/stream/retraining/test_metrics.py.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model.comparison.gate import Decision
from model.durable import write_durably
from model.evaluation.intervals import Interval
from model.evaluation.metrics import K
from model.registry.registry import REPORTS
from model.training.trained_model import TrainedModel
from stream.logs import utc_text

UNFINISHED_PREFIX = ".unfinished-"
MEBIBYTE = 1 << 20


@dataclass
class RunReport:
    """One run, filled in step by step. `outcome` is accepted, refused or failed; times are event times.

    `seconds` are wall seconds by step, `cpu_seconds` CPU seconds of this process; `held_out_recall`
    is the Recall@20 on the held-out events after the model learned them too; `waits_for` the measure in
    which an experiment has to see the version lead before it is promoted, "" where it need not.

    >>> headline(RunReport("20260101T000000000Z", "accepted", version="v2", promoted=True))
    'v2 is the champion'
    """

    run: str
    outcome: str = ""
    champion: str | None = None
    version: str | None = None
    promoted: bool = False
    waits_for: str = ""
    source: str = ""
    events: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)
    first_event_time_ms: int | None = None
    last_event_time_ms: int | None = None
    split_ms: int | None = None
    items: int = 0
    new_items: int = 0
    training_events: int = 0
    training_events_per_s: float = 0.0
    held_out_recall: float | None = None
    decision: Decision | None = None
    error: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    folder: Path | None = None

    def add_training(self, challenger: TrainedModel, known_before: int) -> None:
        """Enter the training; the champion knew `known_before` items."""
        self.items = len(challenger.vocabulary)
        self.new_items = self.items - known_before
        self.training_events = challenger.events
        self.training_events_per_s = challenger.events_per_s

    def add_held_out_training(self, challenger: TrainedModel, held_out_recall: float) -> None:
        """Enter the training on the held-out events, and the Recall@20 on them afterwards."""
        self.new_items += len(challenger.vocabulary) - self.items
        self.items = len(challenger.vocabulary)
        self.training_events += challenger.events
        self.held_out_recall = round(held_out_recall, 4)

    def scores(self, decision: Decision) -> dict[str, Any]:
        """What is saved beside the weights: held-out quality, POP's, and the gate's decision."""
        own, *others = decision.standings
        return {
            "evaluation": {
                "k": K,
                "recall": own.recall.mean,
                "mrr": own.mrr.mean,
                "targets": decision.targets,
                "sessions": decision.sessions,
            },
            "pop": next({"recall": s.recall.mean, "mrr": s.mrr.mean} for s in others if s.name == "POP"),
            "gate": decision.as_dict(),
            "events_per_s": self.training_events_per_s,
        }

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "folder": None if self.folder is None else str(self.folder)}


def write_report(root: Path, report: RunReport, margin: float) -> Path:
    """Write report.md, report.json and the plot under `root`/reports. Returns their folder.

    The caller holds the registry's lock: the unfinished report of a killed run is removed.
    """
    # Imported here: matplotlib takes half a second to import.
    from model.comparison.plots import gate_plot

    for unfinished in (root / REPORTS).glob(f"{UNFINISHED_PREFIX}*"):
        shutil.rmtree(unfinished)
    folder = root / REPORTS / f"{UNFINISHED_PREFIX}{report.run}"
    folder.mkdir(parents=True)
    report.folder = root / REPORTS / report.run
    decision = report.decision
    if decision is not None and decision.standings and decision.targets:
        write_durably(folder / "standings.png", gate_plot(decision, margin))
    write_durably(folder / "report.md", markdown(report).encode())
    write_durably(folder / "report.json", json.dumps(report.as_dict(), indent=2).encode())
    folder.rename(report.folder)
    return report.folder


def headline(report: RunReport) -> str:
    """The result of the run, in a line."""
    if report.outcome == "failed":
        return f"failed: {report.error[0]}"
    if report.outcome == "refused":
        assert report.decision is not None
        serving = f"{report.champion} goes on serving" if report.champion else "there is no champion yet"
        return f"refused, {serving}: {'; '.join(report.decision.reasons)}"
    if report.waits_for:
        return f"{report.version} is saved, and waits until an experiment sees it lead in {report.waits_for}"
    return f"{report.version} {'is the champion' if report.promoted else 'is saved, and not promoted'}"


def markdown(report: RunReport) -> str:
    """The report for people."""
    lines = [f"# Retraining {report.run}: {report.outcome}", "", f"{headline(report)}.", ""]
    lines += report.error[1:]
    facts = [
        ("champion before", report.champion or "none"),
        ("version", report.version or "none"),
        ("events", f"{report.events:,} of {report.source}"),
        (
            "event time",
            f"{_utc_text(report.first_event_time_ms)} to {_utc_text(report.last_event_time_ms)}",
        ),
        ("held out from", _utc_text(report.split_ms)),
        ("items", f"{report.items:,}, of them {report.new_items:,} new"),
        (
            "learned from",
            f"{report.training_events:,} next events, {report.training_events_per_s:,.0f} a second",
        ),
        ("records rejected", _counted(report.rejected)),
        ("records left out by the mapping", _counted(report.left_out)),
        ("most memory", f"{report.peak_memory_bytes / MEBIBYTE:,.0f} MiB"),
    ]
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts), ""]
    decision = report.decision
    if decision is not None and decision.standings:
        lines += _standings(decision)
        if report.held_out_recall is not None:
            lines += [
                f"Then it learned from these events too, as it is to serve what comes after them; its "
                f"Recall@20 on them, seen, is {report.held_out_recall:.4f}.",
                "",
            ]
    if decision is not None:
        for title, sentences in (("Refused because", decision.reasons), ("Worth knowing", decision.notes)):
            if sentences:
                lines += [f"## {title}", "", *(f"- {sentence}" for sentence in sentences), ""]
    lines += ["## Steps", "", "| step | wall seconds | CPU seconds |", "|---|---|---|"]
    for name, seconds in [*report.seconds.items(), ("all", sum(report.seconds.values()))]:
        cpu_seconds = sum(report.cpu_seconds.values()) if name == "all" else report.cpu_seconds[name]
        lines.append(f"| {name} | {seconds:,.2f} | {cpu_seconds:,.2f} |")
    return "\n".join(lines) + "\n"


def _standings(decision: Decision) -> list[str]:
    lines = [
        "## On the events held out",
        "",
        f"{decision.targets:,} next events of {decision.sessions:,} sessions, which none has seen; those of "
        "items that a model does not know are misses. In brackets: 95 % intervals, whole sessions "
        "resampled; lead: what the challenger has more, paired.",
        "",
        "| | Recall@20 | MRR@20 | lead in Recall@20 | lead in MRR@20 | ms/step |",
        "|---|---|---|---|---|---|",
    ]
    for row in decision.standings:
        step = "–" if row.step_ms is None else f"{row.step_ms:.3f}"
        lines.append(
            f"| {row.name} | {row.recall:.4f} | {row.mrr:.4f} | "
            f"{_lead(row.recall_lead)} | {_lead(row.mrr_lead)} | {step} |"
        )
    if decision.targets:
        lines += ["", "![Recall@20, MRR@20 and the challenger's lead](standings.png)"]
    return [*lines, ""]


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {why}" for why, count in reasons.items()) or "none"


def _lead(lead: Interval | None) -> str:
    return "–" if lead is None else f"{lead:+.4f}"


def _utc_text(time_ms: int | None) -> str:
    return "–" if time_ms is None else utc_text(time_ms)
