"""Which topics some rules need: without them they would promise what no worker can keep.

Tested by tests/unit/stream/catalogue/test_purchases.py and test_catalogue.py.
"""

from __future__ import annotations

from model.errors import NextclickError
from stream.catalogue.rules import Rules


def check_topics(rules: Rules, keeps_purchases: bool, publishes_placements: bool) -> None:
    """Raise NextclickError where a topic that the rules need is not there.

    >>> check_topics(Rules(), False, False)
    """
    if rules.session.bought_days is not None and not keeps_purchases:
        raise NextclickError(
            f"the rules of version {rules.version} need what users bought, and no topic keeps it",
            "`bought_days` would leave nothing out. Rules that were read before go on.",
            "Make it with `nextclick topics create` and start the worker again, or take the rule out.",
        )
    if rules.published and not publishes_placements:
        raise NextclickError(
            f"the rules of version {rules.version} publish placements, and no topic takes them",
            "Their lists would be lost. Rules that were read before go on.",
            "Make it with `nextclick topics create` and start the worker again, or take `published` out.",
        )
