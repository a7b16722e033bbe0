"""The decoder of the events topic that the settings ask for: the project's own JSON, or a mapping's.

Tested by tests/unit/stream/ingest/test_mapped_events.py and tests/integration/test_own_topic.py.
"""

from __future__ import annotations

from stream.event_decoder import OWN_EVENTS, EventDecoder, patient
from stream.ingest.mapped_decoder import MappedDecoder
from stream.ingest.named_mappings import mapping_by
from stream.ingest.registry_schemas import SchemaRegistry
from stream.settings import Settings


def decoder_of(settings: Settings, *, waits: bool = True) -> EventDecoder:
    """The decoder of the events topic. Raises NextclickError for a mapping that cannot be read or used.

    With `waits` it waits for schemas that the registry does not give; else it raises SchemaAwayError.

    >>> decoder_of(Settings()) is OWN_EVENTS
    True
    """
    if not settings.events_mapping:
        return OWN_EVENTS
    registry = (
        SchemaRegistry(settings, f"{settings.events_topic}-value") if settings.schema_registry_url else None
    )
    decoder = MappedDecoder(mapping_by(settings.events_mapping), registry)
    return patient(decoder) if waits and registry is not None else decoder
