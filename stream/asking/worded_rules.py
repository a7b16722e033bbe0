"""The rules that hold, each in words, and the placements, as JSON for the page.

Tested by tests/unit/stream/asking/test_views.py.
"""

from __future__ import annotations

import orjson

from stream.catalogue.rule_parts import parts_of
from stream.catalogue.rules import Placement, Rules


def rules_in_words(rules: Rules) -> bytes:
    """A JSON object: `version`, `rules`, and the `placements` by name.

    >>> rules_in_words(Rules.parse("[never]\\nunavailable = false\\n[session]\\ndismissed = false"))
    b'{"version":null,"rules":[],"placements":[]}'
    """

    def rows(placement: Placement | None) -> list[dict[str, str]]:
        return [{"rule": part.name, "text": part.text} for part in parts_of(rules, placement)]

    placements = [
        {
            "name": name,
            "length": placement.length,
            "source": placement.source,
            "category": placement.category,
            "published": placement.published,
            "rules": rows(placement),
        }
        for name, placement in sorted(rules.placement.items())
    ]
    return orjson.dumps({"version": rules.version or None, "rules": rows(None), "placements": placements})
