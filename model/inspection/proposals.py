"""Which sources of a fused list proposed an item, and by which of the session's events.

Shapes: N events of the session, B = 1 session, S sources, C candidates, k list length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from model.networks.fused.candidates import NEAR_DECAY, NEAR_EVENTS
from model.networks.fused.fused_list import FusedList
from model.networks.fused.source_arrays import CANDIDATES, SOURCES, SourceArrays
from model.stepping.stepper import NumpyColumns, Stepper


@dataclass(frozen=True)
class Proposal:
    """That a source proposed an item: its rank in the source's own list, from 1.

    `event` is the place of the session's event by which it did, None where it was by all of them.
    """

    source: str
    rank: int
    event: int | None = None


@torch.inference_mode()
def proposals(stepper: Stepper, columns: NumpyColumns) -> dict[int, list[Proposal]]:
    """By item index, the sources that propose it after a session of N ≥ 1 events of known items.

    The source that ranks it best comes first. Empty for a network that is no fused list. No stored state
    changes; may run beside steps.
    """
    fused = stepper.network
    if not isinstance(fused, FusedList):
        return {}
    rows = stepper.rebuild([{name: values[:-1] for name, values in columns.items()}])
    state = stepper.copies.send_state(rows)
    with stepper.lock.reading():
        output_BH, _ = fused.advance(
            stepper.inputs({name: values[-1:] for name, values in columns.items()}), state
        )
        found = stepper.proposals(output_BH)
        lists_BSk = fused.lists_by_source(found, None, CANDIDATES)
        arrays = fused.sources.arrays()
    items_N = columns["item"]
    by_item: dict[int, list[Proposal]] = {}
    for source, list_k in zip(SOURCES, lists_BSk[0], strict=True):
        for rank, item in enumerate(list_k[list_k >= 0].tolist(), 1):
            event = _event(source, item, items_N.tolist(), arrays)
            by_item.setdefault(item, []).append(Proposal(source, rank, event))
    for proposed in by_item.values():
        proposed.sort(key=lambda proposal: proposal.rank)
    return by_item


def _event(source: str, item: int, items: list[int], arrays: SourceArrays) -> int | None:
    """The place of the event by which a source proposes an item."""
    if source == "next items":
        return len(items) - 1
    if source == "own items":
        return len(items) - 1 - items[::-1].index(item)
    if source == "near items":
        return _nearest(item, items, arrays)
    return None


def _nearest(item: int, items: list[int], arrays: SourceArrays) -> int | None:
    """The place of the event to which an item is near by most weight, as the source adds it up."""
    newest_first = list(dict.fromkeys(reversed(items)))[:NEAR_EVENTS]
    best, heaviest = None, 0.0
    for age, event_item in enumerate(newest_first):
        if event_item >= len(arrays.popularity_V):
            continue
        pairs = slice(*arrays.near_begins_V1[event_item : event_item + 2])
        at = np.flatnonzero(arrays.near_items_P[pairs] == item)
        weight = NEAR_DECAY**age * float(arrays.near_weights_P[pairs][at].sum())
        if weight > heaviest:
            best, heaviest = len(items) - 1 - items[::-1].index(event_item), weight
    return best
