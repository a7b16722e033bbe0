"""What a target rate needs, calculated from measured figures, and a simulation that checks the formulas.

Reads deploy/results/measured.toml; every line has its formula and the figures it rests on. Then sessions
are simulated event by event on some partitions, each at the rate of the target: hashed as Kafka does, open
until they expire, recovered and caught up. Fails when simulation and formula differ by more than their
tolerance. With --clicks the sessions follow a log, else geometric laws.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.benchmarks.capacity.arithmetic import Arithmetic
from deploy.benchmarks.capacity.session_laws import (
    GeometricLaw,
    LoggedLaw,
    SessionLaw,
    catch_up_s,
    expiry_looks,
    oldest_age_bound_s,
    oldest_age_s,
    open_sessions,
    recover_range,
    skew_bound,
    skew_of_events,
)
from deploy.benchmarks.capacity.session_simulation import SKEW_WINDOW_S, Plan, simulate
from deploy.benchmarks.capacity.sheet import Line, Target, read_figures
from deploy.benchmarks.measure.run_program import run_program
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from replay.datasets.event_files import EventFiles
from stream.sessions.partition import EXPIRIES_PER_PASS, WAVES_BETWEEN_EXPIRIES

FIGURES = Path(__file__).parents[1] / "results" / "measured.toml"


@dataclass(frozen=True)
class Check:
    """A quantity by formula and by simulation; `kind` ± is for equal, ≤ and ≥ for a bound."""

    name: str
    unit: str
    predicted: float
    simulated: float
    kind: str
    tolerance: float = 0.0

    @property
    def difference(self) -> float:
        """Of the simulated from the predicted, as a share."""
        return 0.0 if self.simulated == self.predicted else self.simulated / self.predicted - 1

    @property
    def holds(self) -> bool:
        """Whether the formula stands."""
        above = self.kind == "≥" or self.difference <= self.tolerance
        return above and (self.kind == "≤" or self.difference >= -self.tolerance)


def plan_of(arithmetic: Arithmetic, law: SessionLaw, partitions: int, workers: int) -> Plan:
    """Partitions like the target's, fewer of them; warmed up until even old sessions have begun inside."""
    rate = arithmetic["partition rate"]
    recent_items = arithmetic.settings.recent_items
    warm_up_s = oldest_age_bound_s(rate / law.mean_events, law, arithmetic.silence_s, recent_items, 0.01)
    return Plan(
        partitions=partitions,
        workers=workers,
        partition_events_per_s=rate,
        silence_s=arithmetic.silence_s,
        capacity_ratio=1 / arithmetic["worker load"],
        outage_s=round(arithmetic["outage"]),
        reread_events_per_s=arithmetic["recovery.reread_events_per_s"],
        recent_items=recent_items,
        wave_size=arithmetic.settings.wave_size,
        warm_up_s=warm_up_s,
    )


def check(law: SessionLaw, plan: Plan, seed: int) -> tuple[list[Check], dict[str, Any]]:
    """Simulate the plan, and put every formula beside what came out."""
    started_s = time.perf_counter()
    came = simulate(law, plan, seed)
    rate, outage_s = plan.partition_events_per_s, plan.outage_s
    new = rate / law.mean_events
    age_s, deviation_s = oldest_age_s(new, law, plan.silence_s, plan.recent_items)
    events_range = recover_range(rate, age_s)
    # Two standard errors: a partition's oldest hardly changes in the window, so each counts once.
    age_tolerance = 2 * deviation_s / math.sqrt(plan.partitions) / age_s
    own = math.ceil(plan.partitions / plan.workers)
    capacity = plan.capacity_ratio * own * rate
    received = math.ceil(own / (plan.workers - 1))
    # From the simulated range, which has a row of its own: here the queue is checked.
    reread_s = received * came.recover_range_events / plan.reread_events_per_s
    backlog = rate * (received * (outage_s + reread_s) + own * reread_s)
    moved_s = reread_s + catch_up_s(backlog, capacity, rate * (own + received))
    pass_s = WAVES_BETWEEN_EXPIRIES * plan.wave_size / (rate * own)
    looks = expiry_looks(law, plan.silence_s)
    bound_s = oldest_age_bound_s(new, law, plan.silence_s, plan.recent_items, 0.001)
    returned_s = catch_up_s(rate * own * outage_s, capacity, rate * own)
    most_skew = skew_bound(new * SKEW_WINDOW_S, law, plan.partitions) - 1
    least_skew = skew_of_events(rate * SKEW_WINDOW_S, plan.partitions) - 1
    skew = f"of the largest partition over the mean, {SKEW_WINDOW_S} s"
    rows: list[tuple[str, str, float, float, str, float]] = [
        (
            "open sessions of a partition",
            "",
            open_sessions(new, law, plan.silence_s),
            came.open_sessions,
            "±",
            0.02,
        ),
        (f"excess {skew}", "", most_skew, came.skew - 1, "≤", 0),
        ("the same, of events without sessions", "", least_skew, came.skew - 1, "≥", 0.15),
        ("re-read range", "events", events_range, came.recover_range_events, "±", age_tolerance),
        (
            "largest re-read range",
            "events",
            recover_range(rate, bound_s),
            came.recover_range_largest,
            "≤",
            0,
        ),
        ("returned worker: catch-up", "s", returned_s, came.returned_catch_up_s, "±", 0.05),
        ("lost worker: re-read and catch-up", "s", moved_s, came.moved_catch_up_s, "±", 0.10),
        ("expiry looks of a session", "", looks, came.expiry_looks, "±", 0.03),
        ("expiry lag, half a pass", "s", pass_s / 2, came.expiry_lag_s, "±", 0.10),
        (
            "most entries due in a pass",
            "",
            EXPIRIES_PER_PASS,
            came.expiry_looks_per_pass_largest,
            "≤",
            0,
        ),
    ]
    checks = [Check(*row) for row in rows]
    about = {
        "sessions": came.sessions,
        "events": came.events,
        "partitions": plan.partitions,
        "workers": plan.workers,
        "partition_events_per_s": round(rate, 1),
        "warm_up_s": round(plan.warm_up_s),
        "window_s": plan.window_s,
        "seconds": round(time.perf_counter() - started_s, 1),
    }
    return checks, about


def shown(value: float) -> str:
    """Three or more significant figures."""
    if math.isinf(value):
        return "never"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.3g}"


def report(arithmetic: Arithmetic, runs: dict[str, tuple[list[Check], dict[str, Any]]], command: str) -> str:
    """The page in Markdown."""
    parts = [
        f"# What {arithmetic.target.events_per_s:,.0f} events/s need",
        f"```\n$ {command}\n```",
        "Figures: [measured.toml](measured.toml), which says of each where it comes from. A line marked "
        "* rests on an assumption, itself or by a line that it uses. The measured figures come from 2 "
        "cores; that so many workers and brokers do as one does is assumed throughout.",
        "\n".join(f"- **not kept:** {warning}" for warning in arithmetic.warnings),
    ]
    for group in dict.fromkeys(line.group for line in arithmetic.lines):
        rows = [row_of(line, arithmetic) for line in arithmetic.lines if line.group == group]
        parts.append(f"## {group}\n| | | formula | rests on |\n|---|--:|---|---|\n" + "\n".join(rows))
    for name, (checks, about) in runs.items():
        scale = arithmetic["partitions"] / about["partitions"]
        rows = [
            f"| {c.name} | {shown(c.predicted)} {c.unit} | {shown(c.simulated)} {c.unit} | "
            f"{c.difference:+.1%} | {c.kind} {c.tolerance:.0%} | {'yes' if c.holds else '**no**'} |"
            for c in checks
        ]
        parts.append(
            f"## Simulation, {name}\nScale 1 : {scale:,.0f}. {about['partitions']} of "
            f"{arithmetic['partitions']:,} partitions, each at its {about['partition_events_per_s']} "
            f"events/s, on {about['workers']} workers with the target's ratio of load to capacity: "
            f"{about['sessions']:,} sessions, {about['events']:,} events, {about['warm_up_s']:,} s of "
            f"warm-up and then {about['window_s']:,} s looked at.\n\n| | predicted | simulated | "
            "difference | tolerance | holds |\n|---|--:|--:|--:|---|---|\n" + "\n".join(rows)
        )
    return "\n\n".join(part for part in parts if part) + "\n"


def row_of(line: Line, arithmetic: Arithmetic) -> str:
    """A line of the sheet as a row; measured and assumed figures with their values."""
    rests_on = ", ".join(f"{name} = {arithmetic[name]:,g}" if "." in name else name for name in line.rests_on)
    mark = " *" if line.assumed else ""
    return f"| {line.name}{mark} | {shown(line.value)} {line.unit} | {line.formula} | {rests_on} |"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench scale",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench scale --events-per-s 1000000 --clicks clicks.csv.xz",
    )
    add = parser.add_argument
    add("--events-per-s", type=float, default=1_000_000)
    add("--items", type=int, default=46_033, help="vocabulary; takes the next larger measured one")
    add("--mean-session-events", type=float, help="default: of the figures")
    add("--mean-gap-s", type=float, help="between the events of a session; default: of the figures")
    add("--session-gap-s", type=float, help="silence that ends a session; default: of the figures")
    add("--clicks", type=Path, nargs="+", help="take the sessions of these event files, not geometric ones")
    add("--catch-up-s", type=float, default=20, help="until an outage's backlog is gone: sets the head room")
    add("--spread", type=int, default=8, help="partitions of a worker, at least")
    add("--racks", type=int, default=3)
    add("--replication", type=int, default=3)
    add("--events-retention-days", type=float, default=30)
    add("--lists-retention-days", type=float, default=7)
    add("--figures", type=Path, default=FIGURES)
    add("--simulated-partitions", type=int, default=8, help="0: no simulation")
    add("--simulated-workers", type=int, default=4)
    add("--seed", type=int, default=1)
    add("--output", type=Path, help="write the page there instead of to stdout")
    add("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Calculate, simulate, print; 1 where a formula does not stand."""
    arguments = parse()
    figures = read_figures(arguments.figures, arguments.items)
    for name in ("mean_session_events", "mean_gap_s", "session_gap_s"):
        if getattr(arguments, name) is not None:
            figures[f"log.{name}"] = getattr(arguments, name)
    gap_s = figures["log.session_gap_s"]
    geometric = GeometricLaw(figures["log.mean_session_events"], figures["log.mean_gap_s"], gap_s)
    laws: dict[str, SessionLaw] = {"geometric sessions": geometric}
    if arguments.clicks:
        frame = EventFiles(arguments.clicks).load()
        logged = LoggedLaw(Sessions.from_frame(frame, Vocabulary.from_frame(frame), SessionRule(gap_s)))
        laws["sessions of the log"] = logged
        figures["log.mean_session_events"] = round(logged.mean_events, 3)
        figures["log.mean_gap_s"] = round(logged.mean_gap_s, 1)
    law = list(laws.values())[-1]
    target = Target(
        events_per_s=arguments.events_per_s,
        items=arguments.items,
        session_gap_s=gap_s,
        catch_up_s=arguments.catch_up_s,
        spread=arguments.spread,
        racks=arguments.racks,
        replication=arguments.replication,
        events_retention_days=arguments.events_retention_days,
        lists_retention_days=arguments.lists_retention_days,
    )
    arithmetic = Arithmetic(figures, target, law)
    runs: dict[str, tuple[list[Check], dict[str, Any]]] = {}
    if arguments.simulated_partitions:
        for name, one in laws.items():
            plan = plan_of(arithmetic, one, arguments.simulated_partitions, arguments.simulated_workers)
            runs[name] = check(one, plan, arguments.seed)
    if arguments.json:
        simulations = {
            name: {**about, "checks": [{**asdict(c), "holds": c.holds} for c in checks]}
            for name, (checks, about) in runs.items()
        }
        lines = [asdict(line) for line in arithmetic.lines]
        print(json.dumps({"lines": lines, "warnings": arithmetic.warnings, "simulations": simulations}))
    command = "nextclick bench scale " + " ".join(sys.argv[1:])
    page = report(arithmetic, runs, command.strip())
    if arguments.output:
        arguments.output.write_text(page)
    elif not arguments.json:
        print(page)
    failed = [c.name for checks, _ in runs.values() for c in checks if not c.holds]
    for name in failed:
        print(f"error: {name}: simulation and formula differ beyond the tolerance", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run_program(main)
