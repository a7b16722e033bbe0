"""The shipped rules with their times divided by one factor, so that a drill need not last for hours.

Divided are ranges, steps of subqueries, offsets and `for`. A range keeps two scrapes at least. Numbers that
are compared, such as seconds of a delay, stay.

Tested by tests/deploy/test_drill.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION = r"(?:\d+(?:ms|[smhd]))+"
RANGE = re.compile(rf"\[({DURATION})(?::({DURATION}))?\]")
OFFSET = re.compile(rf"\boffset ({DURATION})")


def milliseconds(duration: str) -> int:
    """A duration of PromQL.

    >>> milliseconds("1m30s")
    90000
    """
    parts = re.findall(r"(\d+)(ms|[smhd])", duration)
    return sum(int(number) * UNITS_MS[unit] for number, unit in parts)


def shortened(duration: str, factor: float, least_ms: int = 1) -> str:
    """A duration divided by `factor`, in milliseconds.

    >>> shortened("2m", 8), shortened("15s", 60, least_ms=1000)
    ('15000ms', '1000ms')
    """
    return f"{max(least_ms, round(milliseconds(duration) / factor))}ms"


def short_expression(expression: str, factor: float, scrape_ms: int) -> str:
    """An expression with its ranges and offsets divided.

    >>> short_expression("increase(x[10m] offset 1h) > 0", 10, 2000)
    'increase(x[60000ms] offset 360000ms) > 0'
    """

    def of_range(found: re.Match[str]) -> str:
        window = shortened(found[1], factor, 2 * scrape_ms)
        step = f":{shortened(found[2], factor)}" if found[2] else ""
        return f"[{window}{step}]"

    text = RANGE.sub(of_range, expression)
    return OFFSET.sub(lambda found: f"offset {shortened(found[1], factor)}", text)


def short_rules(text: str, factor: float, scrape_ms: int) -> str:
    """A file of rules, divided; as it is by factor 1."""
    if factor == 1:
        return text
    rules: dict[str, Any] = yaml.safe_load(text)
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = short_expression(rule["expr"], factor, scrape_ms)
            if "for" in rule:
                rule["for"] = shortened(rule["for"], factor)
    text = yaml.safe_dump(rules, sort_keys=False, allow_unicode=True)
    return str(text)


def write_short_rules(folder: Path, factor: float, scrape_ms: int) -> None:
    """Divide the rules in a copy of deploy/prometheus."""
    for name in ("recording.yml", "alerts.yml"):
        path = folder / name
        path.write_text(short_rules(path.read_text(), factor, scrape_ms))
