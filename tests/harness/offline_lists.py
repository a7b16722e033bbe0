"""The lists of a log, computed offline event by event: what streamed lists are held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.features import raw_column
from model.data.session_rule import SessionRule
from model.networks.model_version import ModelVersion
from model.stepping.stepper import Stepper


@dataclass(frozen=True)
class EventLists:
    """The list after every event of a log, in the log's order: ids n×k (None-padded) and scores n×k.

    `fallback` says why a list is not of the event's own step: "", "unknown_item" or "empty_session".
    """

    items: npt.NDArray[np.object_]
    scores: npt.NDArray[np.float32]
    fallback: list[str]


def event_lists(model: ModelVersion, frame: pd.DataFrame, *, stepper: Stepper | None = None) -> EventLists:
    """What every session is shown after every event: the reference for the streaming worker.

    A slow, plain reading of the rules: a log without session_end rows, in event-time order.
    """
    stepper = stepper or Stepper(model)
    k, vocabulary = stepper.k, model.vocabulary
    rule = SessionRule(model.config.session_gap_s)
    items = vocabulary.encode(frame["item_id"])
    steps = _step_numbers(frame, rule)
    ids = np.full((len(frame), k), -1, np.int64)
    scores = np.full((len(frame), k), -np.inf, np.float32)
    fallback = [""] * len(frame)
    popular = vocabulary.top(len(vocabulary))
    columns = {name: raw_column(frame, name) for name in stepper.network.columns if name != "item"}
    rows: dict[int, npt.NDArray[np.uint8]] = {}
    shown: dict[int, int] = {}
    seen: dict[int, list[int]] = {}
    for step in range(int(steps["step"].max()) + 1):
        now = np.flatnonzero(steps["step"] == step)
        for row in now[items[now] < 0]:
            part = int(steps["part"][row])
            before = shown.get(part)
            fallback[row] = "unknown_item" if before is not None else "empty_session"
            if before is None:
                top = popular[:k]
                ids[row, : len(top)], scores[row, : len(top)] = top, vocabulary.counts[top]
            else:
                ids[row], scores[row] = ids[before], scores[before]
            shown[part] = int(row)
        stepped = now[items[now] >= 0]
        for start in range(0, len(stepped), stepper.wave_size):
            part_rows = stepped[start : start + stepper.wave_size]
            parts = [int(p) for p in steps["part"][part_rows]]
            for row, part in zip(part_rows, parts, strict=True):
                seen.setdefault(part, []).append(int(items[row]))
            blank = stepper.initial_rows(1)[0]
            packed = np.stack([rows.get(part, blank) for part in parts])
            exclude = None
            if model.config.exclude_session_items:
                width = max(len(seen[part]) for part in parts)
                exclude = np.array([seen[p] + [-1] * (width - len(seen[p])) for p in parts], np.int64)
            ids[part_rows], scores[part_rows], after = stepper.step(
                {"item": items[part_rows], **{name: raw[part_rows] for name, raw in columns.items()}},
                packed,
                exclude,
            )
            for row, part, packed_row in zip(part_rows, parts, after, strict=True):
                rows[part], shown[part] = packed_row, int(row)
    names = vocabulary.item_ids[ids]
    names[ids < 0] = None
    return EventLists(names, scores, fallback)


def _step_numbers(frame: pd.DataFrame, rule: SessionRule) -> dict[str, npt.NDArray[np.int64]]:
    """For every event: the number of its session's part, and its place in it from 0."""
    last_ms: dict[str, int] = {}
    part_of: dict[str, int] = {}
    place: dict[str, int] = {}
    parts = np.zeros(len(frame), np.int64)
    steps = np.zeros(len(frame), np.int64)
    following = 0
    for row, (session, time_ms) in enumerate(zip(frame["session_id"], frame["event_time_ms"], strict=True)):
        if session not in last_ms or rule.resets(last_ms[session], time_ms):
            part_of[session], place[session], last_ms[session] = following, 0, time_ms
            following += 1
        else:
            place[session] += 1
            last_ms[session] = max(last_ms[session], time_ms)
        parts[row], steps[row] = part_of[session], place[session]
    return {"part": parts, "step": steps}
