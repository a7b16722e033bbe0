"""The worker's peer: the same work as a Quix Streams application, a process of its own.

Runs in an environment of its own (see quix_process), since Quix's pins and ours exclude each
other. The same events, model code, session gap, state record and output record as the worker;
Quix's loop, Quix's RocksDB state, its changelog topic off (`use_changelog_topics=False`), so
that it does not write each state twice. It is spared what the worker does besides: headers,
quality, expiry, metrics; and it commits every 5 s, Quix's default, not every 0.2 s.

Quix hands a callback one message. `--wave 1` steps each alone, its state under its own key. With
`--wave N` a tumbling count window collects N messages and one callback steps them: such a window
groups by key, so a key deserializer gives a partition's messages one key, and their states lie
under it by session id. What waits for a full window is safe in Quix's state, and waits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parents[3]))

import numpy as np
import torch
from quixstreams import Application, message_context
from quixstreams.models import Deserializer, Serializer

from model.data.session_rule import SessionRule
from model.registry.registry import Registry
from model.stepping.stepper import Stepper
from stream.events import Event, decode_event, encode_recommendation
from stream.sessions.session_state import SessionState, new_state, pack_state, unpack_state

# A wave's key and a session's place under its own key: any constant will do.
WAVE_KEY = b"wave"
STATE_KEY = "state"

Published = tuple[bytes, bytes]


class State(Protocol):
    """What is used of Quix's state: bytes under the message's key."""

    def get_bytes(self, key: str) -> bytes | None:
        """The value, None where there is none."""

    def set_bytes(self, key: str, value: bytes) -> None:
        """Keep the value."""


class OneKey(Deserializer):  # type: ignore[misc]
    """Reads every key as the same, so that a window collects a partition's messages."""

    def __call__(self, value: bytes, ctx: Any) -> bytes:
        """Any key → the wave's."""
        return WAVE_KEY


class ListValue(Serializer):  # type: ignore[misc]
    """Writes the second part of (session id, list)."""

    def __call__(self, value: Published, ctx: Any) -> bytes:
        """The encoded list."""
        return value[1]


class Recommender:
    """Steps events and keeps what the worker keeps of their sessions."""

    def __init__(self, registry: Path, recent_items: int, wave: int) -> None:
        model = Registry(registry).load()
        self._version = model.version
        self._vocabulary = model.vocabulary
        self._rule = SessionRule(model.config.session_gap_s)
        self._recent_items = recent_items
        self._stepper = Stepper(model, wave_size=wave)
        self._stepper.warm_up()
        self._blank = self._stepper.initial_rows(1).tobytes()

    def one(self, value: bytes, key: bytes, timestamp: int, headers: object, state: State) -> Published:
        """Step one message; its state lies under its own key."""
        context = message_context()
        event = decode_event(value, key)
        return self._step([(event, context.partition, context.offset)], [STATE_KEY], state)[0]

    def wave(self, values: Sequence[Sequence[Any]], state: State) -> list[Published]:
        """Step a window's messages, at most one of each session at a time, in their order."""
        published: list[Published] = []
        waiting = list(values)
        while waiting:
            taken: dict[str, tuple[Event, int, int]] = {}
            left: list[Sequence[Any]] = []
            for value in waiting:
                session_id, item_id, time_ms, partition, offset = value
                if session_id in taken:
                    left.append(value)
                else:
                    taken[session_id] = (Event(session_id, time_ms, item_id), partition, offset)
            published += self._step(list(taken.values()), list(taken), state)
            waiting = left
        return published

    def _step(self, arrivals: list[tuple[Event, int, int]], keys: list[str], kept: State) -> list[Published]:
        states: list[SessionState] = []
        for key, (event, _, _) in zip(keys, arrivals, strict=True):
            packed = kept.get_bytes(key)
            state = new_state() if packed is None else unpack_state(packed)
            if state.position and self._rule.resets(state.last_event_time_ms, event.event_time_ms):
                state = new_state()
            states.append(state)
        items = self._vocabulary.encode([event.item_id for event, _, _ in arrivals])
        rows = np.frombuffer(b"".join(state.hidden or self._blank for state in states), np.uint8)
        ids_Bk, scores_Bk, after = self._stepper.step({"item": items}, rows.reshape(len(states), -1))
        names = self._vocabulary.item_ids[ids_Bk].tolist()
        published: list[Published] = []
        for i, (event, partition, offset) in enumerate(arrivals):
            state = states[i]
            state.model_version = self._version
            state.hidden = after[i].tobytes()
            state.list_items, state.list_scores = names[i], scores_Bk[i].tobytes()
            state.remember(event, offset, (), self._recent_items)
            kept.set_bytes(keys[i], pack_state(state))
            value = encode_recommendation(
                event.session_id,
                f"{partition}-{offset}",
                event.event_time_ms,
                self._version,
                names[i],
                scores_Bk[i],
            )
            published.append((event.session_id.encode(), value))
        return published


def read(value: bytes) -> list[Any]:
    """What a window keeps of a message: it lies in Quix's state as JSON."""
    context = message_context()
    event = decode_event(value)
    return [event.session_id, event.item_id, event.event_time_ms, context.partition, context.offset]


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="example: application.py --bootstrap-servers 127.0.0.1:9092 --events-topic events "
        "--recommendations-topic quix-recommendations --group quix --registry registry --state-dir quix",
    )
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--events-topic", required=True)
    parser.add_argument("--recommendations-topic", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--recent-items", type=int, default=50)
    parser.add_argument("--wave", type=int, default=1, help="messages stepped together; 1: each alone")
    parser.add_argument("--torch-threads", type=int, help="default: torch's own choice")
    arguments = parser.parse_args()
    if arguments.torch_threads:
        torch.set_num_threads(arguments.torch_threads)
    recommender = Recommender(arguments.registry, arguments.recent_items, arguments.wave)
    app = Application(
        broker_address=arguments.bootstrap_servers,
        consumer_group=arguments.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=arguments.state_dir,
        # The worker's, but for the rest of its batching: Quix's and librdkafka's defaults.
        producer_extra_config={
            "acks": "all",
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "linger.ms": 2,
        },
    )
    events = app.topic(
        arguments.events_topic,
        value_deserializer="bytes",
        key_deserializer="bytes" if arguments.wave == 1 else OneKey(),
    )
    lists = app.topic(arguments.recommendations_topic, value_serializer=ListValue(), key_serializer="bytes")
    frame = app.dataframe(events)
    if arguments.wave == 1:
        frame = frame.apply(recommender.one, stateful=True, metadata=True)
    else:
        frame = frame.apply(read).tumbling_count_window(arguments.wave, name="wave").collect().final()
        frame = frame.apply(lambda window: window["value"])
        frame = frame.apply(recommender.wave, stateful=True, expand=True)
    frame.to_topic(lists, key=lambda value: value[0])
    app.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
