"""For how long partitions have no lists after a kill, a crash, a restart and a pause of one of two workers.

Two workers share a steady traffic. One of them is killed for good (SIGKILL, as if its machine were lost),
crashes (SIGKILL, and a supervisor's start), is restarted (SIGTERM, then a start), and stopped for a while
(SIGSTOP, SIGCONT). After each the longest time between two lists of a partition is read
from the topic of lists, beside the same without a fault. Events without a list, and lists that came twice
with other bytes, are counted; there must be none.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.benchmarks.load.traffic import Traffic
from deploy.benchmarks.measure.list_account import ListAccount, Served
from deploy.benchmarks.measure.process import broker, machine, show
from deploy.benchmarks.measure.run_program import run_program
from deploy.benchmarks.measure.worker_group import WorkerGroup

FAULTS = ("none", "kill", "crash", "restart", "pause")
QUIET_S = 8.0
# Between a death and the next start, as a supervisor waits (systemd's RestartSec here and there).
SUPERVISOR_S = 2.0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench gap",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench gap --faults kill crash restart pause",
    )
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--rate", type=float, default=160.0, help="events/s of all partitions")
    parser.add_argument("--pause-s", type=float, default=60.0, help="how long SIGSTOP lasts")
    parser.add_argument("--session-timeout-ms", type=int, help="of the workers; default: as shipped")
    parser.add_argument("--timeout-s", type=float, default=240.0, help="longest wait for any step")
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


class GapRun:
    """One run: the faults by name, each of which returns when the group is whole again."""

    def __init__(self, group: WorkerGroup, pause_s: float) -> None:
        self._group = group
        self._pause_s = pause_s
        self.faults: dict[str, Callable[[], None]] = {
            "none": lambda: time.sleep(QUIET_S),
            "kill": self._kill,
            "crash": self._crash,
            "restart": self._restart,
            "pause": self._pause,
        }

    def _kill(self) -> None:
        self._group.kill("b")
        sibling = self._group.workers["a"]

        def has_all() -> bool:
            status = sibling.status()
            return status is not None and len(status["partitions"] or []) == self._group.settings.partitions

        self._group.wait(has_all, "the other worker having all partitions")

    def _crash(self) -> None:
        self._group.kill("b")
        time.sleep(SUPERVISOR_S)
        self._group.settle()

    def _restart(self) -> None:
        self._group.stop("b")
        self._group.settle()

    def _pause(self) -> None:
        process = self._group.workers["b"].process
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(self._pause_s)
        finally:
            process.send_signal(signal.SIGCONT)


def main() -> int:
    """Serve, do each fault, print the gaps; 1 where an event has no list or two that differ."""
    arguments = parse()
    result: dict[str, Any] = {"machine": machine()}
    changes = {"partitions": arguments.partitions}
    if arguments.session_timeout_ms:
        changes["session_timeout_ms"] = arguments.session_timeout_ms
    with tempfile.TemporaryDirectory(prefix="nextclick-gap-") as temporary:
        folder = Path(temporary)
        with broker(arguments.bootstrap_servers, folder) as (address, _):
            group = WorkerGroup(address, folder, "bench-gap", patience_s=arguments.timeout_s, **changes)
            account, traffic = ListAccount(group.settings), Traffic(group.settings, arguments.rate)
            result["session_timeout_ms"] = group.settings.session_timeout_ms
            try:
                group.train()
                group.settle()
                traffic.begin()
                run = GapRun(group, arguments.pause_s)
                for name in arguments.faults:
                    result[name] = measured(group, account, run.faults[name], arguments.timeout_s)
                    print(f"{name}: {result[name]}", file=sys.stderr)
                traffic.end()
            finally:
                group.kill()
                account.close()
                group.remove_topics()
    show(result, arguments.json, json.dumps)
    bad = [name for name in arguments.faults if result[name]["lost"] or result[name]["changed"]]
    for name in bad:
        print(f"error: {name}: events without a list, or with two that differ", file=sys.stderr)
    return 1 if bad else 0


def measured(
    group: WorkerGroup, account: ListAccount, fault: Callable[[], None], timeout_s: float
) -> dict[str, Any]:
    """The longest gap of a fault, that of each partition, and what became of the events."""
    account.begin()
    fault()
    served: Served = account.end(timeout_s)
    # A worker that has ended is started again; what that costs belongs to no fault.
    group.settle()
    return {
        "gap_s": served.gap_s,
        "by_partition_s": served.gaps_s,
        "events": served.events,
        "lost": served.lost,
        "repeated": served.repeated,
        "changed": served.changed,
    }


if __name__ == "__main__":
    run_program(main)
