"""The table of a drill."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.drill.fault import Row

HEAD = (
    "| fault | alert | s | may take | also fired | events | lost | twice, equal | twice, different | gap s |"
)
LINE = "|---|---|--:|--:|---|--:|--:|--:|--:|--:|"


def line(row: Row, factor: float) -> str:
    """A row of the table in Markdown."""
    fault = row.fault
    if row.skipped:
        return f"| {fault.what} | not made: {row.skipped} |" + " |" * 8
    seconds = "never" if row.seconds is None else f"{row.seconds:.0f}"
    also = ", ".join(name.removeprefix("Nextclick") for name in row.also)
    cells = [
        fault.what,
        row.alert.removeprefix("Nextclick") or "none",
        seconds,
        f"{fault.allowed_s(factor):.0f}",
        also,
    ]
    if row.served is None:
        return "| " + " | ".join(cells) + " |" + " |" * 5
    served = row.served
    lost = f"{served.lost} (the fault)" if fault.loses and served.lost else str(served.lost)
    gap = f"{served.gap_s:.1f}" if fault.has_gap else ""
    return (
        "| "
        + " | ".join([*cells, str(served.events), lost, str(served.repeated), str(served.changed), gap])
        + " |"
    )


def table(rows: Sequence[Row], factor: float) -> str:
    """All rows in Markdown."""
    return "\n".join([HEAD, LINE, *(line(row, factor) for row in rows)])
