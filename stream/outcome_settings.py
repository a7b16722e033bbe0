"""The settings of topics beside the lists: those of placements, and what came of the lists.

Tested by tests/unit/stream/test_settings.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from stream.own_topic import TOPIC


class OutcomeSettings(BaseModel):
    """The settings of published placements, of `nextclick outcomes`, and of what reads its topic.

    >>> OutcomeSettings().outcomes_topic
    'outcomes'
    """

    placements_topic: str = Field(
        "nextclick-placements", pattern=rf"^{TOPIC}$", description="lists of published placements, if there"
    )
    outcomes_topic: str = Field("outcomes", pattern=rf"^{TOPIC}$", description="what came of each list")
    outcomes_within_s: float = Field(
        1_800, ge=1, le=86_400, description="what is clicked or bought so long after a list is its outcome"
    )
    gate_experiment: Literal["none", "hits", "clicks", "baskets", "purchases", "revenue"] = Field(
        "none", description="in which an experiment's challenger has to lead before it may be promoted"
    )

    def gate_over(self, champion: str | None) -> str:
        """The measure in which a challenger has to lead over the champion; "none" where none is asked for.

        >>> settings = OutcomeSettings(gate_experiment="clicks")
        >>> settings.gate_over("v1"), settings.gate_over(None)
        ('clicks', 'none')
        """
        return "none" if champion is None else self.gate_experiment
