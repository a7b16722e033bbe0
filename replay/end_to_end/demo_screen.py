"""What the demo prints: lists and numbers as a live screen, or as lines without a terminal; the summary."""

from __future__ import annotations

from collections import deque
from typing import Any

from rich.console import Group
from rich.table import Table

from replay.console import Terminal
from replay.sending.replay_report import ReplayReport
from stream.kafka.lists_reader import Received

SYSTEM_NAMES = {"champion": "GRU4Rec", "pop": "POP", "window_pop": "POP of the last hour"}
SHOWN_ITEMS = 4
console = Terminal(soft_wrap=True)


def view(
    newest: deque[Received], titles: dict[str, str], status: dict[str, Any], sent: int, total: int
) -> Group:
    """The screen: the newest lists above the numbers."""
    lists = Table(title="newest lists", expand=True)
    for name in ("session", "event", "recommended next, best first"):
        lists.add_column(name, no_wrap=True, overflow="ellipsis", ratio=8 if name.startswith("rec") else None)
    for received in newest:
        shown = received.recommendation
        names = " · ".join(titles.get(item, item).capitalize() for item in shown.items[:SHOWN_ITEMS])
        lists.add_row(shown.session_id, f"#{received.headers.get('position', '?')}", names)
    return Group(lists, numbers(status, sent, total))


def numbers(status: dict[str, Any], sent: int, total: int) -> Table:
    """The rolling quality of all systems, and the progress of the replay."""
    table = Table(expand=True)
    for name in ("", "rolling Recall@20", "rolling MRR@20", "events scored"):
        table.add_column(name)
    for system, quality in status["quality"].items():
        rolling = quality["rolling"]
        values = (
            f"{rolling['recall_at_20']:.3f}",
            f"{rolling['mrr_at_20']:.3f}",
            f"{rolling['events']:,.0f}",
        )
        table.add_row(SYSTEM_NAMES[system], *values)
    table.caption = (
        f"{sent:,} of {total:,} events replayed · {status['lists']:,} lists · model {status['model']}"
    )
    return table


def say(
    newest: deque[Received], titles: dict[str, str], status: dict[str, Any], sent: int, total: int
) -> None:
    """Print one line of numbers and one with the newest list; used without a terminal."""
    quality = {system: values["rolling"]["recall_at_20"] for system, values in status["quality"].items()}
    console.print(
        f"{sent:,} of {total:,} events, {status['lists']:,} lists, rolling Recall@20 "
        f"{quality['champion']:.3f} (POP {quality['pop']:.3f})",
        highlight=False,
    )
    if newest:
        shown = newest[0].recommendation
        names = " · ".join(titles.get(item, item).capitalize() for item in shown.items[:SHOWN_ITEMS])
        console.print(f"  session {shown.session_id}: {names}", highlight=False, markup=False)


def summary(status: dict[str, Any], posted: int, report: ReplayReport) -> bool:
    """Print the totals. Returns whether they add up, counting the `posted` events of the live page."""
    accounting, quality = status["accounting"], status["quality"]
    served = accounting["stepped"] + accounting["unknown"]
    good = accounting["holds"] and served == status["lists"]
    good = good and served + accounting["ended"] == report.acknowledged + posted
    console.rule("summary")
    champion, pop = quality["champion"]["total"], quality["pop"]["total"]
    console.print(
        f"{report.acknowledged:,} events in, {status['lists']:,} lists out, {report.rate:,.0f} events/s\n"
        f"Recall@20 {champion['recall_at_20']:.3f}, MRR@20 {champion['mrr_at_20']:.3f} over "
        f"{champion['events']:,.0f} events that had a list before them\n"
        f"POP on the same events: Recall@20 {pop['recall_at_20']:.3f}, MRR@20 {pop['mrr_at_20']:.3f}\n"
        f"read {accounting['read']:,} = stepped {accounting['stepped']:,} "
        f"+ duplicate {accounting['duplicate']:,} + unknown {accounting['unknown']:,} "
        f"+ ended {accounting['ended']:,} + dead-lettered {accounting['dead_lettered']:,}: "
        f"{'holds' if accounting['holds'] else 'BROKEN'}",
        highlight=False,
    )
    return bool(good)
