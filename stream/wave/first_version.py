"""The version that a worker serves at its start: the champion, or where it cannot serve one before it.

Tested by tests/unit/stream/wave/test_withdrawn_versions.py.
"""

from __future__ import annotations

import logging

from model.errors import NextclickError
from model.registry.registry import Registry
from stream.logs import happening
from stream.wave.serving_model import ModelSlot, ServingModel

# Champions before the champion that a start tries.
MOST_FORMER = 5
logger = logging.getLogger(__name__)


def prepare_first(live: ModelSlot, registry: Registry) -> tuple[ServingModel, list[NextclickError]]:
    """Prepare the champion; where it cannot serve, the newest champion before it that can.

    Returns the version and why each before it was refused. Raises the error of the champion when none
    can serve.
    """
    refused: list[NextclickError] = []
    champion = registry.champion()
    names = [champion]
    if champion is not None:
        names += reversed(registry.champions.before()[-MOST_FORMER:])
    for name in names:
        try:
            serving = live.prepare(name)
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
        return serving, refused
    raise refused[0]
