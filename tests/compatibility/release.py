"""What a release leaves behind: a registry, packed session states, records of every topic, and its lists.

python tests/compatibility/release.py writes tests/compatibility/VERSION, once for each release; the tests of
all later ones read it. Bytes stand as base64 beside what they mean.
"""

from __future__ import annotations

import base64
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
import pandas as pd
import torch

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.by_name import columns_of
from model.registry.registry import Registry
from model.training.train import train
from model.training.trained_model import TrainedModel
from stream.catalogue.item_word import ItemWord, encode_word
from stream.catalogue.purchases import encode_purchase
from stream.events import DISMISS, PURCHASE, Event, encode_event, encode_recommendation
from stream.kafka.announcements import encode_announcement
from stream.outcomes.outcome import Outcome, Taken, encode_outcome
from stream.sessions.offsets import AppliedOffsets, encode_metadata, pack_applied
from stream.sessions.session_state import SessionState, new_state, pack_state
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.offline_lists import event_lists

NETWORKS = ("fused", "gru4rec", "feature-lstm", "user-gru-rectified", "transitions", "v-sknn", "pop")
SESSIONS, ITEMS, LISTED = 80, 12, 30
RELEASES = Path(__file__).parent


def write(folder: Path) -> None:
    """Write what this release leaves behind into a new folder."""
    written = dict(records())
    folder.mkdir()
    put(folder, "records", written)
    frame = markov_shoppers(sessions=SESSIONS, items=ITEMS, seed=1).frame
    frame["user_id"] = "u" + frame["session_id"].str[-1]
    registry, lists = Registry(folder / "registry"), {}
    shown = frame.head(LISTED)
    for network in NETWORKS:
        version = trained(registry, frame, network)
        found = event_lists(registry.load(version), shown)
        items = [[name for name in row if name is not None] for row in found.items]
        lists[version] = {
            "items": items,
            "scores": [
                [float(score) for score in row[: len(names)]]
                for row, names in zip(found.scores, items, strict=True)
            ],
        }
    registry.promote(version)
    put(folder, "events", shown.to_dict("records"))
    put(folder, "lists", lists)


def trained(registry: Registry, frame: pd.DataFrame, network: str) -> str:
    """Train and save a small version of a network; returns its name."""
    torch.manual_seed(0)
    config = ModelConfig(network=network, hidden_size=4, epochs=1, learning_rate=0.1)
    vocabulary = Vocabulary.from_frame(frame, columns_of(config))
    sessions = Sessions.from_frame(frame, vocabulary, SessionRule(config.session_gap_s))
    result = train(sessions, vocabulary, config)
    return registry.save(TrainedModel(result.network, config, vocabulary), scores={}, data={}).version


def a_state() -> SessionState:
    """A session's state in which every field says something."""
    state, view = new_state(), Event("s", 1_000, "i1", user_id="u", price=2.5, brand="b")
    columns = ("price", "brand")
    state.remember(view, 7, columns, 50)
    state.remember(Event("s", 2_000, "i2", PURCHASE), 8, columns, 50)
    state.remember(Event("s", 3_000, "i3", DISMISS), 9, columns, 50)
    state.model_version, state.hidden = "v", b"\x00\x01\x02\x03"
    state.list_items, state.list_scores = ["i3", "i1"], b"\x00\x00\x80\x3f\x00\x00\x00\x3f"
    state.unlisted, state.source_lists, state.challenger = 1, b"\x01\x00\x00\x00", b"\x05"
    return state


def records() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name → the bytes that this release writes, and what they mean."""
    event = Event("s", 1_700_000_000_000, "i", "cart", "u", 9.5, "b", "c.d", "t")
    word = ItemWord(title="White mug", brand="b", category="c.d", price=9.5, available=False)
    outcome = Outcome(
        "s", "0-7", 5, "v", ["i"], [Taken("0-8", "i", "view", 1, 60)], 600_000, 1, experiment="e", side="a"
    )
    applied, state = AppliedOffsets(position=7, recover_from=3), a_state()
    purchase = encode_purchase("u", "i", 5)
    written: dict[str, tuple[bytes, Any]] = {
        "event": (encode_event(event), event),
        "recommendation": (
            encode_recommendation("s", "0-7", 5, "v", ["i", "j"], [0.5, 0.25]),
            ["s", "0-7", 5, "v", ["i", "j"], [0.5, 0.25]],
        ),
        "announcement": (encode_announcement("v"), "v"),
        "item": (encode_word(word), word),
        "outcome": (encode_outcome(outcome), outcome),
        "purchase_key": (purchase[0], ["u", "i"]),
        "purchase": (purchase[1] or b"", 5),
        "state": (pack_state(state), {name: getattr(state, name) for name in state.__struct_fields__}),
        "applied": (pack_applied(applied), applied),
        "committed": (encode_metadata(applied).encode(), applied.recover_from),
    }
    for name, (value, meaning) in written.items():
        yield name, {"bytes": base64.b64encode(value).decode(), "meaning": msgspec.to_builtins(meaning)}


def put(folder: Path, name: str, content: Any) -> None:
    """Write one of its files as JSON."""
    (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    project = tomllib.loads((RELEASES.parents[1] / "pyproject.toml").read_text())["project"]
    made = RELEASES / project["version"]
    write(made)
    print(made)
