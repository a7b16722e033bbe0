"""Runs the drill: python deploy/drill, or ./deploy/drill/run, which installs what it needs."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.benchmarks.measure.process import machine
from deploy.benchmarks.measure.run_program import run_program
from deploy.drill.broker_faults import BROKER_FAULTS
from deploy.drill.fault import Row, run
from deploy.drill.model_faults import MODEL_FAULTS
from deploy.drill.results import line, table
from deploy.drill.stage import Stage, Wishes, stage
from deploy.drill.traffic_faults import TRAFFIC_FAULTS
from deploy.drill.worker_faults import WORKER_FAULTS
from model.errors import NextclickError

FAULTS = [*WORKER_FAULTS, *BROKER_FAULTS, *MODEL_FAULTS, *TRAFFIC_FAULTS]
POLL_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the faults one after the other and print the table. Returns 1 on a miss, 2 where it cannot run."""
    asked = parse(arguments)
    chosen = [fault for fault in FAULTS if not asked.faults or fault.name in asked.faults]
    wishes = Wishes(
        asked.factor,
        asked.patience_s,
        asked.pause_s,
        asked.rate,
        asked.bootstrap_servers,
        asked.session_timeout_ms,
    )
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])
    )
    rows: list[Row] = []
    misses: list[str] = []
    with tempfile.TemporaryDirectory(prefix="nextclick-drill-") as temporary:
        folder = Path(temporary)
        with stage(folder, wishes) as made:
            if failing := made.watch.rules_that_fail():
                misses.append(f"rules that cannot be evaluated: {failing}")
            if asked.quiet_s and (alarms := false_alarms(made, asked.quiet_s)):
                misses.append(f"without a fault: {', '.join(sorted(alarms))}")
            for fault in chosen:
                say(f"{fault.name}: {fault.what}")
                try:
                    rows.append(row := run(fault, made))
                except NextclickError as error:
                    # What the others have shown stands; on this stage there is nothing more to see.
                    misses.append(f"{fault.name}: the drill cannot go on: {error}")
                    break
                found = row.misses(asked.factor, asked.judge_times)
                misses += [f"{fault.name}: {miss}" for miss in found]
                say(line(row, asked.factor))
    load = os.getloadavg()
    print(
        f"{machine()}; load {load[0]:.1f} {load[1]:.1f} {load[2]:.1f} at the end. Rules "
        f"{'as shipped' if asked.factor == 1 else f'shortened by {asked.factor:g}'}, "
        f"{asked.rate:g} events/s, {asked.quiet_s:g} s without a fault before.\n"
    )
    print(table(rows, asked.factor))
    for miss in misses:
        print(f"error: {miss}", file=sys.stderr)
    return 1 if misses else 0


def false_alarms(made: Stage, quiet_s: float) -> set[str]:
    """The alerts that fire while nothing is wrong, once those of the start have ended."""
    made.group.wait(lambda: not made.watch.firing(), "no alert to fire before the first fault")
    seen: set[str] = set()
    until_s = time.monotonic() + quiet_s
    while time.monotonic() < until_s:
        seen |= made.watch.firing()
        time.sleep(POLL_S)
    return seen


def say(text: str) -> None:
    """Tell how far the drill is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="./deploy/drill/run",
        description="Faults one after the other on real processes, each with the alert it must raise and the "
        "time it may take. Ends with a table, and with 1 on a miss.",
        epilog="example: ./deploy/drill/run --factor 5 --faults kill broker",
    )
    add = parser.add_argument
    add("--faults", nargs="+", choices=[fault.name for fault in FAULTS], help="default: all")
    add("--factor", type=float, default=1.0, help="divides the times of the rules; 1: as shipped, 90 minutes")
    add("--quiet-s", type=float, default=60.0, help="before the faults: no alert may fire in it")
    add("--pause-s", type=float, default=60.0, help="of the worker that is paused")
    add("--rate", type=float, default=40.0, help="events/s")
    add(
        "--patience-s",
        type=float,
        default=1_200.0,
        help="longest wait for an alert, or for a step to be done",
    )
    add("--judge-times", action=argparse.BooleanOptionalAction, default=True, help="a late alert is a miss")
    add("--session-timeout-ms", type=int, help="of the workers; default: as shipped")
    add("--bootstrap-servers", help="default: a broker of its own; of another one no fault is made")
    asked = parser.parse_args(arguments)
    if asked.factor < 1:
        parser.error("--factor: 1 or more")
    return asked


if __name__ == "__main__":
    run_program(main)
