"""Numbers as Grafana writes them: unit, scale and decimals of a panel's field configuration."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from model.errors import NextclickError

# Unit → (least value, divisor, suffix), largest first: the first one that is reached is taken.
SCALES: dict[str, list[tuple[float, float, str]]] = {
    "short": [(1e12, 1e12, " Tri"), (1e9, 1e9, " Bil"), (1e6, 1e6, " Mil"), (1e3, 1e3, " K"), (0, 1, "")],
    "cps": [(1e9, 1e9, " Gc/s"), (1e6, 1e6, " Mc/s"), (1e3, 1e3, " Kc/s"), (0, 1, " c/s")],
    "bytes": [
        (2.0**40, 2.0**40, " TiB"), (2.0**30, 2.0**30, " GiB"), (2.0**20, 2.0**20, " MiB"),
        (2.0**10, 2.0**10, " KiB"), (0, 1, " B"),
    ],
    "s": [
        (31_536_000, 31_536_000, " years"), (604_800, 604_800, " weeks"), (86_400, 86_400, " days"),
        (3_600, 3_600, " hours"), (60, 60, " mins"), (1, 1, " s"), (1e-3, 1e-3, " ms"), (1e-6, 1e-6, " µs"),
        (0, 1e-9, " ns"),
    ],
    "percentunit": [(0, 0.01, "%")],
    "none": [(0, 1, "")],
}  # fmt: skip
UNITS = {*SCALES, "locale", "dateTimeAsIso"}


def check_unit(unit: str, where: str) -> None:
    """Raises NextclickError when a panel's unit is not known here."""
    if unit not in UNITS:
        raise NextclickError(
            f"{where} has the unit {unit!r}, which the renderer does not know",
            "Its numbers cannot be drawn as Grafana writes them.",
            "Take another unit, or add this one to deploy/grafana/render/units.py.",
        )


def scale(value: float, unit: str) -> tuple[float, str]:
    """Divisor and suffix of a value; zero has those of one.

    >>> scale(1536.0, "bytes")
    (1024.0, ' KiB')
    """
    if unit not in SCALES:
        return 1.0, ""
    size = abs(value) or 1.0
    return next((divisor, suffix) for least, divisor, suffix in SCALES[unit] if size >= least)


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """A number with its unit, in about three digits unless the decimals are given.

    >>> shown(0.0123, "s"), shown(1536, "bytes"), shown(274227, "locale"), shown(0.305, "percentunit", 1)
    ('12.3 ms', '1.50 KiB', '274,227', '30.5%')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "-∞" if value < 0 else "∞"
    if unit == "dateTimeAsIso":
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    divisor, suffix = scale(value, unit)
    size = value / divisor
    places = _decimals(size) if decimals is None else decimals
    return f"{size:{',' if unit == 'locale' else ''}.{places}f}{suffix}"


def _decimals(size: float) -> int:
    """As many as Grafana takes: none of an integer, else two digits after the first, or three."""
    if size == round(size):
        return 0
    first = -math.floor(math.log10(abs(size))) + 1
    return max(0, first + (abs(size) * 10.0**first > 2.25))
