"""What earlier releases have written is read, and their versions make the lists that they made."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from model.registry.registry import Registry
from stream.catalogue.item_word import decode_word
from stream.catalogue.purchases import decode_purchase
from stream.events import decode_event, decode_recommendation
from stream.kafka.announcements import decode_announcement
from stream.outcomes.outcome import decode_outcome
from stream.sessions.offsets import decode_metadata, unpack_applied
from stream.sessions.session_state import pack_state, unpack_state
from tests.compatibility.release import NETWORKS, RELEASES, a_state, records
from tests.harness.offline_lists import event_lists

WRITTEN = sorted(path.parent for path in RELEASES.glob("*/records.json"))


def content(release: Path, name: str) -> Any:
    return json.loads((release / f"{name}.json").read_text())


def meaning(name: str, value: bytes, key: bytes) -> Any:
    """What the present code reads in a record of this name."""
    if name == "announcement":
        return decode_announcement(value).version
    if name == "recommendation":
        found = decode_recommendation(value)
        return [getattr(found, field) for field in found.__struct_fields__]
    if name == "item":
        return decode_word(b"i", value)[1]
    if name == "purchase":
        return decode_purchase(key, value)[1]
    if name == "purchase_key":
        return list(decode_purchase(value, None)[0])
    if name == "committed":
        metadata = decode_metadata(value.decode())
        return None if metadata is None else metadata.recover_from
    if name == "state":
        state = unpack_state(value)
        return {field: getattr(state, field) for field in state.__struct_fields__}
    if name == "event":
        return decode_event(value)
    return decode_outcome(value) if name == "outcome" else unpack_applied(value)


def test_there_is_a_release_to_read() -> None:
    assert WRITTEN


@pytest.mark.parametrize("release", WRITTEN, ids=lambda path: path.name)
def test_records_and_states_of_a_release_are_read(release: Path) -> None:
    written = content(release, "records")
    values = {name: base64.b64decode(record["bytes"]) for name, record in written.items()}
    for name, record in written.items():
        read = meaning(name, values[name], values["purchase_key"])
        found = msgspec.json.decode(msgspec.json.encode(read))
        expected = record["meaning"]
        if isinstance(expected, dict):
            # A later release may know more of it; what was said stays said.
            found = {field: found[field] for field in expected}
        assert found == expected, name
    # Whatever has been written once goes on being tried.
    assert written.keys() <= {name for name, _ in records()}


def test_a_state_of_a_later_release_is_read_without_what_it_adds() -> None:
    state = a_state()
    fields = msgspec.msgpack.decode(pack_state(state))
    assert unpack_state(msgspec.msgpack.encode([*fields, {"added": 1}])) == state


@pytest.mark.parametrize("release", WRITTEN, ids=lambda path: path.name)
def test_versions_of_a_release_are_served_with_the_lists_that_they_made(release: Path) -> None:
    registry = Registry(release / "registry")
    frame = pd.DataFrame(content(release, "events"))
    lists = content(release, "lists")
    assert registry.champion() in lists
    networks = set()
    for version, expected in lists.items():
        model = registry.load(version)
        networks.add(model.config.network)
        found = event_lists(model, frame)
        for row, (items, scores) in enumerate(zip(expected["items"], expected["scores"], strict=True)):
            listed = [name for name in found.items[row] if name is not None]
            assert len(listed) == len(items)
            # Processors differ in the last bits, and may swap what is equal but for these.
            np.testing.assert_allclose(found.scores[row][: len(scores)], scores, rtol=1e-3, atol=1e-5)
            assert set(listed[:5]) == set(items[:5]) or np.min(-np.diff(scores[:6])) < 1e-4, (version, row)
    assert networks == set(NETWORKS)
