"""The list that a worker would make after chosen items, under a file of items and a file of rules.

Made by the code that answers requests, from one session that is made up. Tested by
tests/unit/replay/commands/test_ruled_list.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import NextclickError
from replay.commands.catalogue_file import CatalogueFile
from replay.item_files.item_rows import RowsRead
from stream.asking.answers import Answers
from stream.asking.query import ListQuery, Refusal
from stream.asking.session_output import state_after
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.rules import read_rules
from stream.sessions.session_state import SessionState
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot

SESSION = "made up"


@dataclass
class OneSession:
    """Where one session is asked for, which lies in the only partition."""

    live: ModelSlot
    state: SessionState | None = None
    partitions: int = 1

    def read_state(self, number: int, session_id: str) -> tuple[SessionState | None, int] | None:
        """The session's state; its events are the newest of all."""
        return self.state, 0 if self.state is None else self.state.last_event_time_ms


def catalogue_of(items_file: CatalogueFile | None, rules: Path | None) -> Catalogue:
    """A catalogue as a worker has it that has read these. Raises NextclickError."""
    catalogue = Catalogue()
    # No purchase is known here, as of a user who has bought nothing.
    catalogue.purchases.is_kept = True
    if items_file is not None:
        rows = RowsRead()
        words = list(items_file.words(rows))
        if rows.left_out:
            raise NextclickError(
                f"{items_file.paths[0]} has rows that say nothing of an item: "
                + "; ".join(rows.first.values()),
                "A worker would not hear them, so the list would be another one. Nothing was listed.",
                "Correct them; `nextclick items load` says the same of each.",
            )
        catalogue.apply(words, f"0-{max(0, len(words) - 1)}")
    if rules is not None:
        catalogue.set_rules(read_rules(rules))
    return catalogue


def ruled_list(
    settings: Settings,
    catalogue: Catalogue,
    version: str | None,
    items: Sequence[str],
    *,
    user_id: str | None,
    k: int,
    placement: str | None,
) -> dict[str, Any]:
    """The answer to GET /api/recommendations for a session of these items. Raises NextclickError."""
    live = ModelSlot(settings, catalogue)
    live.offer(live.prepare(version))
    state = state_after(items, live.current, time.time_ns() // 1_000_000, user_id)
    try:
        body, _ = Answers(OneSession(live, state)).list_of(ListQuery(SESSION, k, placement=placement))
    except Refusal as refusal:
        what = f"no list can be made: {refusal}"
        raise NextclickError(what, refusal.body["meaning"], refusal.body["do"]) from None
    answer: dict[str, Any] = json.loads(body)
    return answer
