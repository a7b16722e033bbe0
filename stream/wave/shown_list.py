"""The list that a session was shown last, and how its next item ranks in what each source had proposed.

Shapes: B sessions, S sources, k list length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model.config import LIST_LENGTH
from model.networks.fused.source_arrays import SOURCES
from model.networks.fused.source_lists import ranks_in
from stream.quality.observed_event import ObservedEvent
from stream.sessions.session_state import SessionState
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.wave.session_event import SessionEvent
from stream.wave.step import rank_in

LISTS_BYTES = 4 * len(SOURCES) * LIST_LENGTH


class ShownList(NamedTuple):
    """The items, the version that made the list, and the sources' own lists as the state has them."""

    items: list[str]
    version: str
    source_lists: bytes

    @classmethod
    def of(cls, state: SessionState) -> ShownList:
        """The list of a session's state."""
        return cls(state.list_items, state.model_version, state.source_lists)


def ranks_by_source(lists: Sequence[ShownList], items: Sequence[int], version: str) -> list[bytes]:
    """The rank of each session's item in the list of each source, S int8, as `ranks_in` says.

    b"" where the sources' lists are unknown: no fused list was shown, or another version made it, whose
    indices mean other items.

    >>> lists_Sk = np.full((len(SOURCES), LIST_LENGTH), -1, np.int32)
    >>> lists_Sk[0, 2] = 7
    >>> shown = ShownList(["i7"], "v1", lists_Sk.tobytes())
    >>> list(ranks_by_source([shown], [7], "v1")[0])[:2], ranks_by_source([shown], [7], "v2")
    ([3, 0], [b''])
    """
    ranks = [b""] * len(lists)
    known = [
        place
        for place, shown in enumerate(lists)
        if shown.version == version and len(shown.source_lists) == LISTS_BYTES
    ]
    if not known:
        return ranks
    joined = b"".join(lists[place].source_lists for place in known)
    lists_BSk = np.frombuffer(joined, np.int32).reshape(len(known), len(SOURCES), LIST_LENGTH)
    ranks_BS = ranks_in(lists_BSk, np.array([items[place] for place in known])).astype(np.int8)
    for place, ranks_S in zip(known, ranks_BS, strict=True):
        ranks[place] = ranks_S.tobytes()
    return ranks


def score(
    events: Sequence[SessionEvent], shown: Sequence[ShownList], serving: ServingModel, live: ModelSlot
) -> list[ObservedEvent]:
    """6. score: rank the items of events that one version serves, in those lists, in POP's, and by source.

    A recovered session has lost the list that it was shown; step 5 has computed it again.
    """
    masks = serving.excludes_session_items
    lists = [
        one if one.items else ShownList.of(event.state) for one, event in zip(shown, events, strict=True)
    ]
    by_source = ranks_by_source(lists, [event.item for event in events], serving.version)
    observed = []
    for session_event, (items, version, _), ranks in zip(events, lists, by_source, strict=True):
        state, event, arrival = session_event.state, session_event.event, session_event.arrival
        item_id, hidden = event.item_id, serving.hidden_from(state)
        observed.append(
            ObservedEvent(
                arrival.partition,
                arrival.watermark.ms,
                event.event_time_ms,
                event.session_id,
                item_id,
                0 <= session_event.item < len(serving.vocabulary),
                state.position if items else 0,
                version,
                rank_in(items, item_id),
                serving.popular_rank(item_id, state.recent_items, hidden) or 0 if items else 0,
                (*(state.recent_items if masks else ()), *hidden),
                live.has_learned(version, arrival.partition, arrival.offset, event.event_time_ms),
                ranks,
            )
        )
    return observed
