"""One event of a wave with the state of its session, while it is stepped.

Tested by tests/unit/stream/wave/test_processor.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream.events import Event
from stream.sessions.session_state import SessionState
from stream.wave.waves import Arrival


@dataclass(slots=True)
class SessionEvent:
    """One event beside its session's state, on its way through a wave.

    `item` is the event's vocabulary index, -1 when unknown; `oldest_before` is the oldest kept offset of
    the stored state, None without one; `needs_list` is False where load shedding leaves the list out; `side`
    is the session's in an experiment, "" in none.
    """

    arrival: Arrival
    event: Event
    state: SessionState
    oldest_before: int | None
    item: int
    needs_list: bool
    side: str = ""
