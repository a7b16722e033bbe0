"""What rules do to one list: the list, what each rule changes in it, and why an item is not in it.

Every item is scored, also those that no list may have now, so that a list can be made as it would be without
a rule. It costs as much as many lists, for a person who looks at rules. Used by one thread.
Tested by tests/unit/stream/asking/test_tried.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from torch import Tensor

from model.config import LIST_LENGTH
from model.stepping.read_out import candidate_scores
from stream.asking.arranged import ListScope, Scores, arranged
from stream.asking.categories import Categories
from stream.asking.query import NOTHING_MADE, Refusal, TryQuery
from stream.asking.session_output import AskedSessions, output_of, session_of, state_after
from stream.asking.titles import title_of, titled
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.rule_parts import RulePart, parts_of
from stream.catalogue.rules import Placement, Rules, Without
from stream.events import EMPTY_SESSION
from stream.sessions.session_state import SessionState
from stream.wave.popular_items import PopularItems
from stream.wave.serving_model import ServingModel

MOST_PARTS = 50
Ids = npt.NDArray[np.int64]
MORE_POPULAR = 200


@dataclass(frozen=True)
class TriedScope(ListScope):
    """A scope whose own rules say what no list may have, whatever the catalogue's say."""

    def may_list(self, item_id: str) -> bool:
        """Whether the list might have an item under these rules."""
        if self.only is not None and item_id not in self.only:
            return False
        if self.catalogue.is_out_under(item_id, self.rules.never):
            return False
        return self.without.is_empty or not self.catalogue.is_against(item_id, self.without)


@dataclass(frozen=True)
class Scored:
    """All items of a version for one session, best first, with scores; none without an output."""

    items: list[str]
    scores: Scores
    popular: list[str]
    counts: Scores


@dataclass(frozen=True)
class Tried:
    """One session and one placement, whose list is made under any rules."""

    catalogue: Catalogue
    serving: ServingModel
    state: SessionState | None
    scored: Scored
    # By the items that would be unlisted: what an item is scored by does not change, what is proposed does.
    score: Callable[[Ids], Scored]
    unlisted: Ids
    length: int
    only: frozenset[str] | None

    def masked(self, rules: Rules) -> set[str]:
        """What the session is not shown under these rules."""
        state, session = self.state, rules.session
        if state is None:
            return set()
        masked = set(state.chosen(session.hidden_kinds))
        if state.user_id and session.bought_ms is not None:
            since_ms = state.last_event_time_ms - session.bought_ms
            masked.update(self.catalogue.purchases.since(state.user_id, since_ms))
        seen = self.serving.trained_without_seen if session.seen is None else session.seen
        return masked.union(state.recent_items) if seen else masked

    def list_without(self, part: RulePart) -> list[str]:
        """The list as it would be without a rule."""
        scored = self.scored
        if part.name.startswith("never."):
            # Without a rule no other item is kept out.
            names = self.serving.vocabulary.item_ids[self.unlisted].tolist()
            still = [self.catalogue.is_out_under(name, part.without.never) for name in names]
            if not all(still):
                scored = self.score(self.unlisted[np.array(still, np.bool_)])
        return self.list_under(part.without, part.own, scored)[0]

    def list_under(self, rules: Rules, own: Without, scored: Scored) -> tuple[list[str], Scores]:
        """The list as these rules would make it."""
        masked = self.masked(rules)
        scope = TriedScope(
            self.catalogue,
            rules,
            self.length,
            PopularItems([], scored.counts[:0]),
            self.only,
            without=own,
        )
        kept = _first(scope, scored.items, masked, scope.candidates)
        popular = _first(scope, scored.popular, set(), self.length + len(masked) + MORE_POPULAR)
        counts = scored.counts[popular].astype(np.float32)
        scope = replace(scope, popular=PopularItems([scored.popular[n] for n in popular], counts))
        return arranged(scope, [scored.items[n] for n in kept], scored.scores[kept], masked)


def _first(scope: ListScope, items: list[str], masked: set[str], most: int) -> list[int]:
    """The places of the first items that a list may have."""
    found: list[int] = []
    for place, item in enumerate(items):
        if len(found) == most:
            break
        if item not in masked and scope.may_list(item):
            found.append(place)
    return found


def _best_first(
    serving: ServingModel,
    output_BH: Tensor | None,
    places_V: Ids,
    names: list[str],
    unlisted_M: Ids,
) -> tuple[list[str], Scores]:
    """The items with a score, best first, and their scores."""
    if output_BH is None:
        return [], np.zeros(0, np.float32)
    found = candidate_scores(serving.stepper, output_BH, places_V, unlisted_M)
    scored = np.flatnonzero(~np.isnan(found.scores_C))
    best = scored[np.lexsort((-found.scores_C[scored], ~found.by_ranker_C[scored]))]
    scores, by_ranker = found.scores_C[best], int(found.by_ranker_C[best].sum())
    if by_ranker:
        # The network's scores, of another kind, come after the ranker's.
        scores[by_ranker:] = scores[by_ranker - 1]
    return [names[n] for n in best], scores


class TriedLists:
    """Makes the answers to GET /api/tries from the sessions of this worker, or from items that are named."""

    def __init__(self, pipeline: AskedSessions, categories: Categories) -> None:
        self._pipeline, self._categories = pipeline, categories
        self._catalogue = pipeline.live.catalogue

    def answer(self, query: TryQuery, serving: ServingModel, placement: Placement | None) -> bytes:
        """The list, what it would be without each rule, and why an item is not in it, as JSON.

        Raises NotHere for a session of another worker, Refusal for what cannot be tried.
        """
        words, rules = self._catalogue.position, self._catalogue.held_rules
        tried, fallback = self._tried(query, serving, placement)
        held, own = rules.of(placement), Without() if placement is None else placement.never
        parts = parts_of(rules, placement)
        items, scores = tried.list_under(held, own, tried.scored)
        without = [self._difference(tried, part, items) for part in parts[:MOST_PARTS]]
        titles = serving.listable.titles
        body: dict[str, Any] = {
            "session_id": query.session_id,
            "model_version": serving.version,
            "rules": rules.version or None,
            "item_words": words or None,
            "placement": query.placement,
            "fallback": fallback or None,
            "items": titled(titles, items, scores.tolist()),
            "without": without,
            "more_rules": max(0, len(parts) - MOST_PARTS),
            "about": None,
        }
        if query.about is not None:
            body["about"] = {
                "item_id": query.about,
                "title": title_of(titles, query.about),
                "place": items.index(query.about) + 1 if query.about in items else None,
                "reasons": [] if query.about in items else self._reasons(query.about, tried, parts, held),
            }
        return orjson.dumps(body)

    def _tried(
        self, query: TryQuery, serving: ServingModel, placement: Placement | None
    ) -> tuple[Tried, str]:
        if query.session_id is not None:
            session = session_of(self._pipeline, query.session_id, serving)
            state, fallback = session.state, session.missing
        else:
            state, fallback = state_after(query.items, serving, self._catalogue.now_ms(), query.user_id), ""
        source = "session" if placement is None else placement.source
        if source == "similar":
            raise Refusal(
                400,
                "lists of similar items are not tried here",
                NOTHING_MADE,
                "Try a placement whose source is session or popular.",
            )
        category = self._categories.get(serving, None if placement is None else placement.category)
        if category is None:
            raise Refusal(404, "no item is known to be in this category", NOTHING_MADE, "Correct the rules.")
        output_BH = None if state is None or source == "popular" else output_of(state, serving)
        if output_BH is None and not fallback:
            fallback = EMPTY_SESSION if source == "session" else ""
        everything = self._categories.get(serving, None) or category
        places_V = everything.places_C
        names = serving.vocabulary.item_ids[places_V].tolist()
        counts = np.where(
            places_V < len(serving.vocabulary.counts),
            serving.vocabulary.counts[np.minimum(places_V, len(serving.vocabulary.counts) - 1)],
            0,
        ).astype(np.float32)

        def score(unlisted_M: Ids) -> Scored:
            return Scored(*_best_first(serving, output_BH, places_V, names, unlisted_M), names, counts)

        marks_V = serving.stepper.unlisted.marks_V
        unlisted = np.zeros(0, np.int64) if marks_V is None else marks_V.nonzero()[:, 0].cpu().numpy()
        unlisted = unlisted[np.isin(unlisted, places_V)]
        length = LIST_LENGTH if placement is None else placement.length
        only = None if placement is None or placement.category is None else category.ids
        tried = Tried(self._catalogue, serving, state, score(unlisted), score, unlisted, length, only)
        return tried, fallback

    def _difference(self, tried: Tried, part: RulePart, items: list[str]) -> dict[str, Any]:
        """What a list has more and less without a rule."""
        others = tried.list_without(part)
        titles = tried.serving.listable.titles

        def named(more: Iterable[str], of: list[str]) -> list[dict[str, Any]]:
            return [{"item_id": i, "title": title_of(titles, i), "place": of.index(i) + 1} for i in more]

        return {
            "rule": part.name,
            "text": part.text,
            "same": others == items,
            "more": named((item for item in others if item not in items), others),
            "less": named((item for item in items if item not in others), items),
        }

    def _reasons(
        self, item_id: str, tried: Tried, parts: list[RulePart], held: Rules
    ) -> list[dict[str, str | None]]:
        """Why an item is not in the list; the rules first, each that keeps it out by itself."""
        catalogue, serving = self._catalogue, tried.serving
        reasons: list[tuple[str | None, str]] = []
        for part in parts:
            if catalogue.keeps_out(part, item_id):
                reasons.append((part.name, part.text))
        if tried.only is not None and item_id not in tried.only:
            reasons.append(("placement.category", "it is not in the category of the placement"))
        masked = tried.masked(held)
        for part in parts:
            if part.name.startswith("session.") and item_id in masked - tried.masked(part.without):
                reasons.append((part.name, part.text))
        if item_id in masked and not any((name or "").startswith("session.") for name, _ in reasons):
            reasons.append((None, "the session has seen it, and the version was trained without such items"))
        if item_id not in serving.vocabulary.index:
            reasons.append((None, "the version in service does not know it: it is new, or was too rare"))
        elif item_id not in tried.scored.items and tried.scored.items:
            reasons.append((None, "the model gives it no score after this session"))
        elif not reasons:
            order = tried.scored.items or tried.scored.popular
            number = order.index(item_id) + 1
            for part in parts[:MOST_PARTS]:
                if item_id in tried.list_without(part):
                    reasons.append((part.name, part.text))
            reasons.append((None, f"of all items it is number {number:,} for this session"))
        return [{"rule": name, "text": text} for name, text in reasons]
