"""A fault: how it is made and healed, the alert that it must raise, and what it may cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from deploy.benchmarks.measure.list_account import Served
from deploy.drill.stage import Stage

POLL_S = 0.2
# What does not become shorter with the rules: sessions of the group, starts, scrapes.
UNSHORTENED_S = 60.0

Step = Callable[[], bool]


def nothing_heals() -> bool:
    """The step of a fault that lasts until it is healed from outside."""
    return False


@dataclass(frozen=True)
class Fault:
    """`make` enters the fault and leaves it healed; meanwhile its step is called again and again.

    One of `alerts` must fire within `limit_s` of unshortened rules. A fault without alerts is one that the
    service must mend by itself in that time: then its step returns True.
    """

    name: str
    what: str
    alerts: tuple[str, ...]
    limit_s: float
    make: Callable[[Stage], AbstractContextManager[Step]]
    needs_broker: bool = False
    # Events that get no list are what the fault is.
    loses: bool = False
    # Without traffic a gap says nothing.
    has_gap: bool = True
    gap_limit_s: float | None = None

    def allowed_s(self, factor: float) -> float:
        """The time that the alert may take with rules that are shortened by `factor`."""
        return self.limit_s / factor + (1 - 1 / factor) * UNSHORTENED_S


@dataclass(frozen=True)
class Row:
    """What came of a fault. `seconds` is None where no alert fired, `skipped` says why it was not made."""

    fault: Fault
    alert: str = ""
    seconds: float | None = None
    also: tuple[str, ...] = ()
    served: Served | None = None
    skipped: str = ""

    def misses(self, factor: float, judge_times: bool) -> list[str]:
        """What is not as it must be; times only where they are judged."""
        if self.skipped:
            return []
        found = []
        if self.seconds is None:
            found.append("no alert" if self.fault.alerts else "not mended")
        elif judge_times and self.seconds > self.fault.allowed_s(factor):
            found.append(f"late: {self.seconds:.0f} s of {self.fault.allowed_s(factor):.0f} s")
        if self.served is not None:
            if self.served.lost and not self.fault.loses:
                found.append(f"{self.served.lost} events without a list")
            if self.served.changed:
                found.append(f"{self.served.changed} events with two lists that differ")
            limit_s = self.fault.gap_limit_s
            if judge_times and limit_s is not None and self.served.gap_s > limit_s:
                found.append(f"gap: {self.served.gap_s:.1f} s of {limit_s:.0f} s")
        return found


class CannotBeMade(Exception):
    """This machine does not allow the fault; the text says what it lacks."""


def run(fault: Fault, stage: Stage) -> Row:
    """Make a fault on a stage that is whole, wait for its alert, heal it, and count what it cost."""
    if fault.needs_broker and not stage.owns_broker:
        return Row(fault, skipped="the broker is not the drill's own")
    stage.group.settle()
    stage.group.wait(
        lambda: not stage.watch.firing() & set(fault.alerts),
        f"the alerts {fault.alerts} to end before the fault",
    )
    before = stage.watch.firing()
    stage.account.begin()
    stage.held.clear()
    seen: set[str] = set()
    alert, seconds = "", None
    try:
        # A fault that needs preparation strikes later, and says so.
        stage.strike()
        with fault.make(stage) as step:
            for firing, mended in _looks(stage, step):
                seen |= firing
                raised = sorted(seen & set(fault.alerts))
                if mended or raised:
                    alert, seconds = (raised or ["mended by itself"])[0], time.monotonic() - stage.struck_s
                    break
    except CannotBeMade as error:
        return Row(fault, skipped=str(error))
    stage.group.settle()
    served = stage.account.end(stage.group.patience_s)
    also = tuple(sorted(seen - before - {alert}))
    return Row(fault, alert, seconds, also, served)


def _looks(stage: Stage, step: Step) -> Iterator[tuple[set[str], bool]]:
    """What fires, and whether the service has mended the fault, until patience ends."""
    deadline = time.monotonic() + stage.patience_s
    while time.monotonic() < deadline:
        stage.supervise()
        yield stage.watch.firing(), step()
        time.sleep(POLL_S)
