"""The options of one retraining: the events it reads, and which of its steps run.

Knows no default of the settings; of an archive it reads the session gap.

Tested by tests/integration/test_retrain.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.config import DEFAULT_NETWORK, ModelConfig
from model.config_files import build_config
from model.data.event_filter import EventFilter
from model.networks.model_version import ModelVersion
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.archive_folder import ArchiveFolder
from stream.session_gaps import check_session_gap


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

    @property
    def session_gap_s(self) -> float | None:
        """The silence that ends a session of these events, see EventDecoder."""
        return (
            self.decoder.session_gap_s
            if self.archive is None
            else ArchiveFolder(self.archive).session_gap_s()
        )


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

    def config(self, champion: ModelVersion | None, epochs: int) -> ModelConfig:
        """The champion's configuration, or the default one, with the changes of this run.

        Sessions end by the silence that the log's mapping says, if it says one, whatever ends the
        champion's: the gate cuts both models' sessions by it. Raises NextclickError when the configuration
        is invalid, or a change names another silence.
        """
        gap_s = self.window.session_gap_s
        inherited: dict[str, Any] = {"network": DEFAULT_NETWORK}
        if champion is not None:
            inherited = {**champion.config.model_dump(), "epochs": epochs}
        if gap_s is not None:
            inherited["session_gap_s"] = gap_s
        config = build_config({**inherited, **self.changes})
        check_session_gap(gap_s, config.session_gap_s, "the configuration")
        return config
