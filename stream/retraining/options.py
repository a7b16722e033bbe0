"""What a retraining reads, and how it goes. Knows no default of the settings, and opens nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Window:
    """What is read: see `read_window`.

    Without a bound at its begin, from behind the last event that the champion has learned from;
    and at most the setting's number of newest events.
    """

    from_ms: int | None = None
    until_ms: int | None = None
    newest_events: int | None = None
    offsets: dict[int, tuple[int, int]] | None = None
    archive: Path | None = None


@dataclass(frozen=True)
class Options:
    """How a run goes. `changes` are settings of the model in place of the champion's, or of the defaults."""

    window: Window = field(default_factory=Window)
    changes: Mapping[str, Any] = field(default_factory=dict)
    finish: bool = True
    promote: bool = True
    announce: bool = True
    threads: int = 1
