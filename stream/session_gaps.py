"""Holds the silence that ends a session of a log of users against the one that a version was trained with.

Where a log has users and no sessions, its mapping says after which silence a session ends; the rule that
cuts is the version's. Both must say the same, or the topic is cut otherwise than the file of that mapping.

Tested by tests/unit/stream/test_session_gaps.py.
"""

from __future__ import annotations

import logging
from pathlib import Path

from model.config import ModelConfig
from model.errors import NextclickError
from stream.logs import happening

logger = logging.getLogger(__name__)


def gap_text(gap_s: float | None) -> str:
    """A session gap in words; None and 0: no silence ends a session.

    >>> gap_text(1200.0), gap_text(0.0)
    ('after 1200 s of silence', 'by no silence')
    """
    return f"after {gap_s:g} s of silence" if gap_s else "by no silence"


def is_other_gap(said_s: float | None, trained_s: float | None) -> bool:
    """Whether the mapping of a log says another gap than a version was trained with; None: it says none.

    >>> is_other_gap(1200.0, 1800.0), is_other_gap(0.0, None), is_other_gap(None, 1800.0)
    (True, False, False)
    """
    return said_s is not None and said_s != (trained_s or 0.0)


def check_session_gap(said_s: float | None, trained_s: float | None, version: str) -> None:
    """Raise NextclickError where the mapping of a log says another gap than `version` was trained with.

    `said_s` is None where the sessions are the log's own: then the version's gap is the rule.

    >>> check_session_gap(None, 1800.0, "v1")
    >>> check_session_gap(0.0, None, "v1")
    """
    if said_s is None or not is_other_gap(said_s, trained_s):
        return
    raise NextclickError(
        f"{version} ends sessions {gap_text(trained_s)}, the mapping of the log {gap_text(said_s)}",
        "Users' events would be cut into other sessions than the mapping says, and than a file of it.",
        f"Retrain, train a version with --session-gap-s {said_s:g}, or say the version's gap in the mapping "
        "(gap_minutes).",
    )


def check_champion(said_s: float, registry_dir: Path) -> None:
    """Hold the champion of a registry to the session gap that the mappings of ingested topics say.

    Logs where it ends sessions otherwise: events go on, since a retraining has to have them to end
    sessions by the mappings' gap. Without a champion that can be read, as where an ingester has no registry,
    a gap that versions do not have unless they are told is logged.
    """
    # Imported here: decoders need no torch.
    from model.registry.registry import Registry

    registry = Registry(registry_dir)
    try:
        champion = registry.champion()
        trained = None if champion is None else registry.config(champion)
    except (OSError, NextclickError) as error:
        champion, trained = None, None
        logger.warning(
            "the champion in %s cannot be read, and is not held to the mappings: %s",
            registry_dir,
            error,
            extra=happening("registry_unreadable", error=str(error)),
        )
    if champion is not None and trained is not None:
        if is_other_gap(said_s, trained.session_gap_s):
            logger.warning(
                "%s ends sessions %s, the mappings that are ingested %s; `nextclick retrain` makes a version "
                "of their gap",
                champion,
                gap_text(trained.session_gap_s),
                gap_text(said_s),
                extra=happening("session_gap_differs", version=champion, mapping_gap_s=said_s),
            )
    elif said_s != ModelConfig.model_fields["session_gap_s"].default:
        logger.warning(
            "the mappings end sessions %s, and %s has no champion to hold to it: train versions with "
            "--session-gap-s %g",
            gap_text(said_s),
            registry_dir,
            said_s,
            extra=happening("session_gap_unchecked", session_gap_s=said_s),
        )
