"""A comparison for people and for programs.

Tested by tests/unit/stream/outcomes/test_comparison.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stream.experiments.experiment import CHALLENGER, CHAMPION
from stream.outcomes.comparison import HITS, LEAST_SESSIONS, REVENUE, Comparison
from stream.outcomes.off_policy import Estimate, doubly_robust, ips, snips


def as_values(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values: sessions by side, and each measure with interval and leader."""
    return {
        "experiment": comparison.experiment,
        "sessions": comparison.sessions,
        "is_enough": comparison.is_enough,
        "unpriced_purchases": comparison.unpriced,
        "measures": {
            one.measure: {
                CHAMPION: one.rates[0],
                CHALLENGER: one.rates[1],
                "difference": one.interval.mean,
                "low": one.interval.low,
                "high": one.interval.high,
                "leader": one.leader if comparison.is_enough else "",
            }
            for one in comparison.differences()
        },
        "if_all_were_challengers": {
            measure: {name: vars(estimate) for name, estimate in found.items()}
            for measure, found in estimates(comparison).items()
        },
    }


def estimates(comparison: Comparison) -> dict[str, dict[str, Estimate]]:
    """By measure per session: what it would be if the challenger served every session; of split sides."""
    challenged_T, p_T = comparison.challenged, comparison.propensities
    if not challenged_T.any() or challenged_T.all():
        return {}
    found = {}
    for measure in ("clicks", "baskets", "purchases", REVENUE):
        y_T = comparison.sums(measure).sum(1)
        found[measure] = {
            "ips": ips(y_T, challenged_T, p_T),
            "snips": snips(y_T, challenged_T, p_T),
            "dr": doubly_robust(y_T, challenged_T, p_T, comparison.days),
        }
    return found


def as_lines(comparison: Comparison) -> list[str]:
    """The comparison as lines of text."""
    sessions = comparison.sessions
    lines = [
        f"{sessions[CHAMPION]:,} sessions of the champion, {sessions[CHALLENGER]:,} of the challenger; "
        "95 % confidence sequences, which may be looked at any time"
    ]
    for one in comparison.differences():
        per = "list with a next event" if one.measure == HITS else "session"
        if not comparison.is_enough:
            leads = f"too few sessions to say: {LEAST_SESSIONS} of each side"
        else:
            leads = f"the {one.leader} leads" if one.leader else "neither leads yet"
        low, high = one.interval.low, one.interval.high
        lines.append(
            f"{one.measure} per {per}: champion {one.rates[0]:.4f}, challenger {one.rates[1]:.4f}, "
            f"difference {one.interval.mean:+.4f} ({low:+.4f} to {high:+.4f}): {leads}"
        )
    for measure, found in estimates(comparison).items():
        values = ", ".join(
            f"{name.upper()} {one.mean:.4f} ± {1.96 * one.error:.4f}"
            for name, one in found.items()
            if np.isfinite(one.mean)
        )
        lines.append(f"{measure} per session if the challenger served every one: {values}")
    if comparison.unpriced:
        lines.append(f"{comparison.unpriced:,} purchases without a price are no revenue here")
    return lines
