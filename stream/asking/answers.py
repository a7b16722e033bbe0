"""The answers: the list of a session, candidates in the order of a session, items similar to one.

Made from what is so at the moment of asking: the session's state, the version in service, the words about
the items, the rules. Used by one thread; steps nothing and writes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from model.inspection.similar_items import similar_to_item
from model.stepping.read_out import best_items, candidate_scores, output_of_event
from stream.asking.categories import Categories
from stream.asking.list_maker import ListMaker
from stream.asking.query import NOTHING_MADE, ListQuery, RankQuery, Refusal, SimilarQuery, TryQuery
from stream.asking.session_output import AskedSession, AskedSessions, output_of, session_of
from stream.asking.titles import title_of, titled
from stream.asking.tried import TriedLists
from stream.catalogue.rules import Placement
from stream.events import EMPTY_SESSION
from stream.wave.arrangement import by_rules
from stream.wave.serving_model import ServingModel

# Why a candidate has no score, in the order in which such candidates end the list.
UNSCORED, UNLISTED, UNKNOWN = "unscored", "unlisted", "unknown"
Ids = npt.NDArray[np.int64]
Body = dict[str, Any]


class Answers:
    """Makes answers from the partitions of this worker. Raises NotHere for the sessions of others."""

    def __init__(self, pipeline: AskedSessions) -> None:
        self._pipeline = pipeline
        self._catalogue = pipeline.live.catalogue
        self._lists = ListMaker(self._catalogue)
        # In a thread of its own, and categories are for one.
        self._tried = TriedLists(pipeline, Categories(self._catalogue))
        rules = self._catalogue.rules
        if any(rules.of(placement).orders for placement in (None, *rules.placement.values())):
            # Compiled here: a request that another worker passes on would not wait so long.
            by_rules(np.array([1]), None, np.zeros((1, 1, 1), np.int32), np.array([1], np.int64))

    def list_of(self, query: ListQuery) -> tuple[bytes, str]:
        """A session's list as JSON, and its fallback, "" where it is made from the session's state."""
        # Before anything is read: the list obeys these words, or more.
        words, serving = self._catalogue.position, self._serving(query.session_id)
        rules = self._catalogue.held_rules
        session = session_of(self._pipeline, query.session_id, serving)
        made = self._lists.make(query, rules, self._placement(query.placement), session.state, serving)
        if made is None:
            raise Refusal(
                404,
                "no item is known to be in this category",
                NOTHING_MADE,
                "Name a category of the items topic or of the training log, with all names of its path.",
            )
        fallback = session.missing or ("" if made.is_of_session else EMPTY_SESSION)
        body = {
            **_named(session, serving),
            "fallback": fallback or None,
            "placement": query.placement,
            "rules": rules.version or None,
            "item_words": words or None,
            "items": titled(serving.listable.titles, made.items, made.scores.tolist()),
        }
        return orjson.dumps(body), fallback

    def ranked(self, query: RankQuery) -> tuple[bytes, str]:
        """The candidates in the order of the session as JSON, and its fallback as of `list_of`.

        Candidates without a score end the list, `why` says the reason; in the order given within each.
        A session without a state ranks by popularity.
        """
        serving, catalogue = self._serving(query.session), self._catalogue
        session = session_of(self._pipeline, query.session, serving)
        output_BH = None if session.state is None else output_of(session.state, serving)
        fallback = session.missing or ("" if output_BH is not None else EMPTY_SESSION)
        places_C = serving.vocabulary.encode(query.candidates)
        known = np.flatnonzero(places_C >= 0)
        by_ranker = np.zeros(len(places_C), np.bool_)
        scores = np.full(len(places_C), np.nan)
        if output_BH is None:
            scores[known] = _counts(serving, places_C[known])
        elif len(known):
            scores[known], by_ranker[known] = candidate_scores(serving.stepper, output_BH, places_C[known])
        rows = []
        for n, item in enumerate(query.candidates):
            score: float | None = None if np.isnan(scores[n]) else float(scores[n])
            why = UNKNOWN if places_C[n] < 0 else (UNSCORED if score is None else None)
            if catalogue.is_unlisted(item):
                score, why = None, UNLISTED if why != UNKNOWN else why
            by = None if score is None else _scored_by(fallback, bool(by_ranker[n]))
            title = title_of(serving.listable.titles, item)
            row = {"item_id": item, "title": title, "score": score, "by": by, "why": why}
            rows.append((_order(why, by, score), row))
        rows.sort(key=lambda pair: pair[0])
        body = {**_named(session, serving), "fallback": fallback or None, "items": [row for _, row in rows]}
        return orjson.dumps(body), fallback

    def similar(self, query: SimilarQuery) -> tuple[bytes, str]:
        """The items nearest to one as JSON: by vectors, or as listed after it for a version without them."""
        serving, catalogue = self._serving(), self._catalogue
        place = serving.vocabulary.index.get(query.item_id)
        if place is None:
            raise Refusal(
                404,
                "the version in service does not know this item",
                "Nothing is known to be similar to it.",
                "Ask for an item of /api/items; one that is new is known after the next training, or with "
                "follow.",
            )
        # Some more: those that have become unlisted meanwhile are left out afterwards.
        wanted = query.k + len(query.exclude) + 1
        found = similar_to_item(serving.stepper, place, wanted)
        by = "vectors"
        if found is None:
            by, left_out = "lists", np.array([place], np.int64)
            columns: dict[str, npt.NDArray[Any]] = {"item": left_out}
            columns |= {name: np.full(1, None, object) for name in serving.columns}
            output_BH = output_of_event(serving.stepper, columns, serving.stepper.initial_rows(1))
            found = best_items(serving.stepper, output_BH, wanted, left_out)
        left = {query.item_id, *query.exclude}
        pairs = [
            (item, score)
            for item, score in zip(
                serving.vocabulary.item_ids[found[0]].tolist(), found[1].tolist(), strict=True
            )
            if item is not None and item not in left and not catalogue.is_unlisted(item)
        ][: query.k]
        body = {
            "item_id": query.item_id,
            "model_version": serving.version,
            "by": by,
            "items": titled(serving.listable.titles, [i for i, _ in pairs], [s for _, s in pairs]),
        }
        return orjson.dumps(body), ""

    def tried(self, query: TryQuery) -> tuple[bytes, str]:
        """What the rules do to a list as JSON, see `TriedLists`; for another thread than the rest."""
        placement = self._placement(query.placement)
        return self._tried.answer(query, self._serving(query.session_id), placement), ""

    def _serving(self, session_id: str | None = None) -> ServingModel:
        """The version of a session's side in an experiment; without a session the champion."""
        if not self._pipeline.live.ready:
            raise Refusal(
                503,
                "no model is in service yet",
                NOTHING_MADE,
                "Try again in a moment; /ready says when.",
                outcome="not_ready",
                again_s=1,
            )
        now = self._pipeline.live.in_service
        return now.champion if session_id is None else now.of(now.side_of(session_id))

    def _placement(self, name: str | None) -> Placement | None:
        if name is None:
            return None
        # Those of the rules that the list names.
        placements = self._catalogue.held_rules.placement
        if name not in placements:
            known = ", ".join(sorted(placements)) or "none"
            raise Refusal(
                404,
                "the rules have no placement of this name",
                NOTHING_MADE,
                f"Name one that they have ({known}), or add it to the file of rules.",
            )
        return placements[name]


def _counts(serving: ServingModel, places_C: Ids) -> npt.NDArray[np.float64]:
    """Events of items in the training; 0 of one that came later."""
    counts_V = serving.vocabulary.counts
    counted = places_C < len(counts_V)
    return np.where(counted, counts_V[np.where(counted, places_C, 0)], 0).astype(np.float64)


def _scored_by(fallback: str, by_ranker: bool) -> str:
    if fallback:
        return "popularity"
    return "ranker" if by_ranker else "network"


def _order(why: str | None, by: str | None, score: float | None) -> tuple[int, float]:
    """What candidates are sorted by; those that a ranker scores come first."""
    if why is not None:
        return 2 + (UNSCORED, UNLISTED, UNKNOWN).index(why), 0.0
    return int(by != "ranker"), -(score or 0.0)


def _named(session: AskedSession, serving: ServingModel) -> Body:
    """What every answer about a session says of it."""
    state = session.state
    return {
        "session_id": session.session_id,
        "partition": session.partition,
        "position": 0 if state is None else state.position,
        "model_version": serving.version,
        "last_event_time_ms": None if state is None else state.last_event_time_ms,
    }
