"""The gate decides whether a challenger may replace the champion, and says why not.

All models ranked the same next events, which none of them has seen. The challenger must prove that it is
not worse by more than a margin (non-inferiority; Piaggio et al., JAMA 2012), in Recall@20 and in MRR@20.
The intervals come from a paired bootstrap of whole sessions (see `intervals`). The gate does no input or
output.

Shapes: M models, S sessions, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from model.comparison.compare import per_session
from model.evaluation.intervals import Interval, resampled_means
from model.evaluation.metrics import K, is_hit, reciprocal_ranks
from model.evaluation.rank_targets import Ranks


@dataclass(frozen=True)
class GateRule:
    """The limits that a challenger must keep.

    `margin` is the allowed absolute loss of Recall@20 and of MRR@20. It buys freshness where a
    difference is small beside its interval; 0 demands proof that the challenger is better.
    `step_factor` limits the challenger's step time, in multiples of the champion's: a step's time grows
    with the items, whose number may double in days. A decision needs `min_sessions` evaluated sessions.
    """

    margin: float = 0.01
    step_factor: float = 4.0
    min_sessions: int = 100


@dataclass(frozen=True)
class Contender:
    """A model's ranks of the targets, its time per step if known, and the names of non-finite weights.

    `is_source`: it is one source of the challenger, alone.
    """

    name: str
    ranks: Ranks
    step_ms: float | None = None
    not_finite: Sequence[str] = ()
    is_source: bool = False


@dataclass(frozen=True)
class Standing:
    """A contender's Recall@20 and MRR@20 with 95 % intervals, and the challenger's paired lead over it."""

    name: str
    recall: Interval
    mrr: Interval
    recall_lead: Interval | None
    mrr_lead: Interval | None
    step_ms: float | None


@dataclass(frozen=True)
class Decision:
    """The gate's decision; `reasons` for a refusal, each with its figures; `notes` that did not decide.

    The challenger comes first in `standings`; all standings are of `targets` next events of `sessions`.
    """

    accepted: bool
    reasons: list[str]
    notes: list[str]
    standings: list[Standing] = field(default_factory=list)
    targets: int = 0
    sessions: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, for JSON."""
        return asdict(self)


def refused(reason: str) -> Decision:
    """Returns a refusal without measurements.

    >>> refused("the loss is not finite").accepted
    False
    """
    return Decision(False, [reason], [])


def decide(
    challenger: Contender, champion: Contender | None, baselines: Sequence[Contender], rule: GateRule
) -> Decision:
    """Compare the challenger with the champion and with the baselines.

    Without a champion the first baseline replaces it. A baseline that is provably better by more than
    the margin is a reason for a refusal, unless the challenger is provably better than the champion: a
    refusal would then leave the worse of the two in service. So is a source of the challenger itself that
    is provably better alone, in either measure, and by more than the margin on average. Raises ValueError
    when the contenders did not rank the same targets.

    >>> ranks = Ranks(np.array([1, 2]), np.array([0, 1]), 2, 0, K, np.zeros(3, np.int64), 0.0)
    >>> decide(Contender("new", ranks), None, [Contender("POP", ranks)], GateRule(min_sessions=2)).accepted
    True
    """
    contenders = [challenger, *([champion] if champion else []), *baselines]
    standings = _standings(contenders)
    first = challenger.ranks
    targets, sessions = len(first.ranks), len(np.unique(first.sessions))
    reasons, notes = [], []
    if challenger.not_finite:
        reasons.append(f"weights that are no numbers: {', '.join(challenger.not_finite)}")
    if sessions < rule.min_sessions:
        reasons.append(
            f"only {sessions:,} sessions with {targets:,} next events to judge by, "
            f"where {rule.min_sessions:,} are asked for"
        )
    if targets:
        reference, *others = standings[1:]
        reasons += _lost(standings[0], reference, rule.margin)
        is_better = reference.recall_lead is not None and reference.recall_lead.low > 0
        beaten: list[str] = []
        for contender, other in zip(contenders[2:], others, strict=True):
            if contender.is_source:
                beaten += _better_alone(standings[0], other, rule.margin)
            elif other.recall_lead is not None and other.recall_lead.high < -rule.margin:
                beaten.append(
                    f"{other.name} reaches a Recall@20 of {other.recall.mean:.4f}, it only "
                    f"{standings[0].recall.mean:.4f}: a difference of {other.recall_lead:+.4f}"
                )
        if is_better:
            notes += [f"{text}; taken all the same, since {reference.name} is worse still" for text in beaten]
        else:
            reasons += beaten
    if champion and champion.step_ms and challenger.step_ms:
        factor = challenger.step_ms / champion.step_ms
        if factor > rule.step_factor:
            reasons.append(
                f"a step takes {challenger.step_ms:.3f} ms, {factor:.2f} times the {champion.step_ms:.3f} ms "
                f"of {champion.name}, where {rule.step_factor:g} times are allowed"
            )
    return Decision(not reasons, reasons, notes, standings, targets, sessions)


def _lost(challenger: Standing, reference: Standing, margin: float) -> list[str]:
    """Returns a sentence for each measure whose possible loss exceeds the margin."""
    sentences = []
    for measure, own, other, lead in (
        (f"Recall@{K}", challenger.recall, reference.recall, reference.recall_lead),
        (f"MRR@{K}", challenger.mrr, reference.mrr, reference.mrr_lead),
    ):
        assert lead is not None
        if lead.low > -margin:
            continue
        verdict = (
            "it is worse" if lead.high < 0 else "that it is not worse by more than the margin is not shown"
        )
        sentences.append(
            f"{measure} {own.mean:.4f} where {reference.name} has {other.mean:.4f}: "
            f"a difference of {lead:+.4f}, of which {margin:.4f} may be lost; {verdict}"
        )
    return sentences


def _better_alone(challenger: Standing, source: Standing, margin: float) -> list[str]:
    """Returns a sentence for each measure in which the source alone is provably better than the whole."""
    return [
        f"{source.name} reaches a {measure} of {other.mean:.4f}, the whole list only {own.mean:.4f}: a "
        f"difference of {lead:+.4f}; its ranker misleads"
        for measure, own, other, lead in (
            (f"Recall@{K}", challenger.recall, source.recall, source.recall_lead),
            (f"MRR@{K}", challenger.mrr, source.mrr, source.mrr_lead),
        )
        if lead is not None and lead.high < 0 and lead.mean < -margin
    ]


def _standings(contenders: Sequence[Contender]) -> list[Standing]:
    """Returns every contender's figures, and the challenger's paired lead over each."""
    counts = [per_session(c.ranks, lambda ranks: np.ones(len(ranks))) for c in contenders]
    counts_S = counts[0]
    for contender, others_S in zip(contenders, counts, strict=True):
        if not np.array_equal(counts_S, others_S):
            raise ValueError(f"{contender.name} has not ranked the targets that {contenders[0].name} has")
    recall_MS = np.stack([per_session(c.ranks, lambda r: is_hit(r, K).astype(float)) for c in contenders])
    mrr_MS = np.stack([per_session(c.ranks, lambda r: reciprocal_ranks(r, K)) for c in contenders])
    sums_MS = np.concatenate([recall_MS, mrr_MS])
    means_M = sums_MS.sum(1) / max(1, counts_S.sum())
    draws_MR = resampled_means(sums_MS, counts_S)

    def interval(row: int) -> Interval:
        return Interval.of(means_M[row], draws_MR[row])

    def lead(first: int, row: int) -> Interval | None:
        if row == first:
            return None
        return Interval.of(means_M[first] - means_M[row], draws_MR[first] - draws_MR[row])

    count = len(contenders)
    return [
        Standing(c.name, interval(m), interval(count + m), lead(0, m), lead(count, count + m), c.step_ms)
        for m, c in enumerate(contenders)
    ]
