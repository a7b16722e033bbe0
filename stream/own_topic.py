"""The settings of a topic of one's own: what its records look like.

Tested by tests/unit/stream/test_settings.py.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator


class OwnTopic(BaseModel):
    """The settings of an events topic that others write in their own way. Raises ValueError.

    >>> OwnTopic(events_mapping="clicks.toml").events_mapping
    'clicks.toml'
    """

    events_mapping: str = Field(
        "",
        description="what is what in a topic of one's own: a TOML file, or a name such as cloudevents",
    )

    @model_validator(mode="after")
    def _posts_own_events(self) -> Self:
        """The page sends the project's own JSON, which a topic of other records does not take."""
        if self.events_mapping and getattr(self, "web_events", False):
            raise ValueError(
                "events_mapping, web_events: HTTP sends our own JSON into a topic of other records; "
                "set one of them only"
            )
        return self
