"""The decoder of the events topic that the settings ask for: the project's own JSON, or a mapping's.

Tested by tests/unit/stream/ingest/test_mapped_events.py and tests/integration/test_own_topic.py.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS, EventDecoder, OwnEvents, patient
from stream.ingest.mapped_decoder import MappedDecoder
from stream.ingest.named_mappings import mapping_by
from stream.ingest.registry_schemas import SchemaRegistry
from stream.log_mapping import LogMapping
from stream.logs import happening
from stream.session_gaps import gap_text
from stream.settings import Settings

logger = logging.getLogger(__name__)


def decoder_of(settings: Settings, *, waits: bool = True) -> EventDecoder:
    """The decoder of the events topic. Raises NextclickError for a mapping that cannot be read or used.

    A mapping of `ingest_from` that cannot be read is passed over with a warning: it is the ingester's.

    With `waits` it waits for schemas that the registry does not give; else it raises SchemaAwayError.

    >>> decoder_of(Settings()) is OWN_EVENTS
    True
    """
    if not settings.events_mapping:
        gap_s = ingested_gap_s(_readable(settings.ingested()))
        return OWN_EVENTS if gap_s is None else OwnEvents(gap_s)
    registry = (
        SchemaRegistry(settings, f"{settings.events_topic}-value") if settings.schema_registry_url else None
    )
    decoder = MappedDecoder(mapping_by(settings.events_mapping), registry)
    return patient(decoder) if waits and registry is not None else decoder


def _readable(ingested: Mapping[str, str]) -> dict[str, LogMapping]:
    """The mappings of ingested topics that can be read here."""
    found = {}
    for topic, name in ingested.items():
        try:
            found[topic] = mapping_by(name)
        except NextclickError as error:
            logger.warning(
                "the mapping of %s, which is ingested, cannot be read here: %s; versions are not held to its "
                "session gap",
                topic,
                error.what,
                extra=happening("ingest_mapping_unreadable", topic=topic, error=error.what),
            )
    return found


def ingested_gap_s(mapped: Mapping[str, LogMapping]) -> float | None:
    """The silence that ends a session of the events that these topics are mapped into, see EventDecoder.

    Raises NextclickError where the mappings of users' topics do not say the same.

    >>> users = {"user": "u", "item": "i", "time": "t"}
    >>> ingested_gap_s({"views": LogMapping(users, sessions="gap", gap_minutes=20)})
    1200.0
    """
    gaps_s = {name: mapping.session_gap_s for name, mapping in mapped.items()}
    said = {name: gap_s for name, gap_s in gaps_s.items() if gap_s is not None}
    if len(set(said.values())) > 1:
        raise NextclickError(
            "the mappings end sessions by different silences: "
            + ", ".join(f"{name} {gap_text(gap_s)}" for name, gap_s in said.items()),
            "Their events go into one topic, where one rule ends a user's sessions. Nothing was read.",
            "Say one `sessions` and one `gap_minutes` in all of them.",
        )
    return next(iter(said.values()), None)
