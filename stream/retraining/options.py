"""The options of one retraining: the events it reads, and which of its steps run.

Knows no default of the settings, and opens nothing.

Tested by tests/integration/test_retrain.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.data.event_filter import EventFilter
from stream.event_decoder import OWN_EVENTS, EventDecoder


@dataclass(frozen=True)
class WindowOptions:
    """The events to read, as `read_window` takes them.

    Without `from_ms` and `offsets` the window begins after the last event that the champion learned
    from, and holds at most the setting's number of newest events. `decoder` reads Kafka's records.
    """

    from_ms: int | None = None
    until_ms: int | None = None
    newest_events: int | None = None
    offsets: dict[int, tuple[int, int]] | None = None
    archive: Path | None = None
    decoder: EventDecoder = OWN_EVENTS


@dataclass(frozen=True)
class RetrainOptions:
    """How a run goes. `changes` replace settings of the champion's model, or of the default one.

    `choose` gets the filter of events that the champion's manifest records, None where it records none,
    and returns the filter of this run.

    >>> RetrainOptions(changes={"epochs": 2}, promote=False).window.newest_events is None
    True
    """

    window: WindowOptions = field(default_factory=WindowOptions)
    changes: Mapping[str, Any] = field(default_factory=dict)
    choose: Callable[[EventFilter | None], EventFilter] = lambda recorded: recorded or EventFilter()
    finish: bool = True
    promote: bool = True
    announce: bool = True
    threads: int = 1
