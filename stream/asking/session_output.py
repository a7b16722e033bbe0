"""A session as it stands: its state, and what its items are scored by, read out without a step.

Tested by tests/unit/stream/asking/test_answers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from model.stepping.read_out import output_of_event, output_of_state
from stream.events import EMPTY_SESSION, Event
from stream.kafka.partitioner import partition_of
from stream.sessions.session_state import SessionState, new_state
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.wave.step import columns_of

UNKNOWN_SESSION = "unknown_session"
SESSION_OVER = "session_over"
FALLBACKS = (UNKNOWN_SESSION, SESSION_OVER, EMPTY_SESSION)


class AskedSessions(Protocol):
    """Where sessions are asked for: a worker's pipeline, or one session that is made up."""

    @property
    def live(self) -> ModelSlot:
        """What serves."""

    @property
    def partitions(self) -> int:
        """How many partitions sessions lie in."""

    def read_state(self, number: int, session_id: str) -> tuple[SessionState | None, int] | None:
        """A session's state and its partition's watermark in ms; None where the partition is not here."""


class NotHere(Exception):
    """The partition of a session is not open on this worker."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"partition {partition} is not open on this worker")
        self.partition = partition


@dataclass(frozen=True)
class AskedSession:
    """A session as it stands; without a `state` in the words of `missing` there is none that counts."""

    session_id: str
    partition: int
    state: SessionState | None
    missing: str = ""


def session_of(pipeline: AskedSessions, session_id: str, serving: ServingModel) -> AskedSession:
    """The session, from this worker's store. Raises NotHere.

    A session whose silence has ended it in event time is over, though it may still be stored.
    """
    number = partition_of(session_id, pipeline.partitions)
    found = pipeline.read_state(number, session_id)
    if found is None:
        raise NotHere(number)
    state, watermark_ms = found
    if state is None or not (state.recent_items or state.choices):
        return AskedSession(session_id, number, None, UNKNOWN_SESSION)
    silence_ms = serving.rule.silence_before_expiry_ms
    if silence_ms is not None and watermark_ms - state.last_event_time_ms > silence_ms:
        return AskedSession(session_id, number, None, SESSION_OVER)
    return AskedSession(session_id, number, state)


def state_after(
    items: Sequence[str], serving: ServingModel, now_ms: int, user_id: str | None = None
) -> SessionState:
    """The state of a session that has just had these items, with what the training log says of them."""
    state, attributes = new_state(), serving.vocabulary.attributes
    for offset, item in enumerate(items):
        known: dict[str, Any] = {
            name: attributes.get(name, {}).get(item) for name in ("price", "brand", "category")
        }
        title = serving.vocabulary.titles.get(item)
        event = Event("made up", now_ms, item, user_id=user_id, title=title, **known)
        state.remember(event, offset, serving.columns, serving.recent_items)
    return state


def output_of(state: SessionState, serving: ServingModel) -> Tensor | None:
    """What the items are scored by, B×H; None for a session of which the version knows no item.

    Read from the hidden state; where it is of another version, or the network's output is not in it, the
    recent items are stepped again, as a wave would do before the session's next event. `state` is unchanged.
    """
    stepper = serving.stepper
    if state.hidden and state.model_version == serving.version and state.hidden != serving.blank_row:
        output_BH = output_of_state(stepper, np.frombuffer(state.hidden, np.uint8)[None])
        if output_BH is not None:
            return output_BH
    known = np.flatnonzero(serving.vocabulary.encode(state.recent_items) >= 0).tolist()
    if not known:
        return None
    rows = stepper.rebuild([columns_of(state, known[:-1], serving)])
    return output_of_event(stepper, columns_of(state, known[-1:], serving), rows)
