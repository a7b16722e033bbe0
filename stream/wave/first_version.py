"""The version that a worker serves at its start: the champion, or where it cannot serve one before it.

Tested by tests/unit/stream/wave/test_withdrawn_versions.py and tests/unit/stream/test_session_gaps.py.
"""

from __future__ import annotations

import logging

from model.errors import NextclickError
from model.registry.registry import Registry
from stream.logs import happening
from stream.session_gaps import gap_text, is_other_gap
from stream.wave.serving_model import ModelSlot, ServingModel

# Champions before the champion that a start tries.
MOST_FORMER = 5
logger = logging.getLogger(__name__)


def prepare_first(live: ModelSlot, registry: Registry) -> tuple[ServingModel, list[NextclickError]]:
    """Prepare the champion; where it cannot serve, the newest champion before it that can.

    A version that ends sessions otherwise than the log's mapping serves, with a warning: it did so before
    the worker ended, and a retraining has to have its events. Returns the version and why each before it
    was refused. Raises the error of the champion when none can serve.
    """
    refused: list[NextclickError] = []
    champion = registry.champion()
    names = [champion]
    if champion is not None:
        names += reversed(registry.champions.before()[-MOST_FORMER:])
    for name in names:
        try:
            serving = live.prepare(name, any_gap=True)
        except NextclickError as error:
            refused.append(error)
            continue
        if refused:
            logger.error(
                "CHAMPION names %s, which cannot serve: %s; %s, champion before it, serves instead",
                champion,
                refused[0].what,
                name,
                extra=happening("champion_cannot_serve", champion=champion, serving=name),
            )
        _hold_to_gap(live.log_gap_s, serving)
        return serving, refused
    raise refused[0]


def _hold_to_gap(said_s: float | None, serving: ServingModel) -> None:
    trained_s = serving.rule.gap_s
    if not is_other_gap(said_s, trained_s):
        return
    logger.warning(
        "%s serves and ends sessions %s, the mapping of the log %s: users' sessions are cut as before; "
        "`nextclick retrain` makes a version of the mapping's gap",
        serving.version,
        gap_text(trained_s),
        gap_text(said_s),
        extra=happening(
            "session_gap_differs", version=serving.version, gap_s=trained_s, mapping_gap_s=said_s
        ),
    )
