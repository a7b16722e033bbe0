"""A session's list of any placement, length and category, from its state as it stands.

Asked for by HTTP, or published after an event: the same list either way. Steps nothing and writes nothing.
Tested by tests/unit/stream/asking/test_answers.py and test_published.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from model.config import LIST_LENGTH
from model.inspection.similar_items import similar_to_item
from model.stepping.read_out import best_items, candidate_scores
from stream.asking.arranged import ListScope, Scores, arranged
from stream.asking.categories import Categories, Category
from stream.asking.query import ListQuery
from stream.asking.session_output import output_of
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.rules import Placement, Rules
from stream.sessions.session_state import SessionState
from stream.wave.serving_model import ServingModel


@dataclass(frozen=True)
class MadeList:
    """Items, best first, and their scores; `is_of_session`: the session's state was read for it."""

    items: list[str]
    scores: Scores
    is_of_session: bool


class ListMaker:
    """Makes lists under the words and rules of a catalogue. Used by one thread at a time.

    >>> ListMaker(Catalogue())
    ListMaker(Categories(kept=0))
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._categories = Categories(catalogue)

    def __repr__(self) -> str:
        return f"ListMaker({self._categories})"

    def make(
        self,
        query: ListQuery,
        rules: Rules,
        placement: Placement | None,
        state: SessionState | None,
        serving: ServingModel,
        *,
        is_popular: bool = False,
    ) -> MadeList | None:
        """The list of a session; None: no item is in the category.

        Of popular items without its state, or where `is_popular`, which saves the rest.
        """
        found = self._scope(query, rules, placement, serving)
        if found is None:
            return None
        scope, category = found
        k = query.k or (LIST_LENGTH if placement is None else placement.length)
        source = "session" if placement is None else placement.source
        # The other sources need no more of the session than that an item of it is known.
        reads = source == "session" and state is not None and not is_popular
        output_BH = output_of(state, serving) if reads and state is not None else None
        masked = set(query.exclude)
        if state is not None:
            masked.update(serving.hidden_from(state))
            masked.update(state.recent_items if serving.excludes_session_items else [])
        if state is not None and source == "similar" and not is_popular:
            candidates, scores = _similar_candidates(serving, state, scope, masked)
        else:
            candidates, scores = _candidates(serving, output_BH, scope, category, masked)
        items, scores = arranged(scope, candidates, scores, masked)
        is_of_session = output_BH is not None
        if source != "session" and state is not None and not is_popular:
            is_of_session = bool((serving.vocabulary.encode(state.recent_items) >= 0).any())
        return MadeList(items[:k], scores[:k], is_of_session)

    def _scope(
        self, query: ListQuery, rules: Rules, placement: Placement | None, serving: ServingModel
    ) -> tuple[ListScope, Category | None] | None:
        catalogue = self._catalogue
        own = Placement() if placement is None else placement
        # A shorter list is the beginning of a whole one, with its caps and pins.
        length = max(query.k or 0, own.length)
        if query.is_plain:
            # Without a word and a rule a wave publishes what the model gives, be it short.
            popular, fills = serving.listable.popular, not catalogue.is_empty
            return ListScope(catalogue, rules, length, popular, fills=fills), None
        name = query.category or own.category
        category = self._categories.get(serving, name)
        if category is None:
            return None
        only = None if name is None else category.ids
        scope = ListScope(catalogue, rules.of(placement), length, category.popular, only, without=own.never)
        return scope, None if name is None else category


def _candidates(
    serving: ServingModel,
    output_BH: Tensor | None,
    scope: ListScope,
    category: Category | None,
    masked: set[str],
) -> tuple[list[str], Scores]:
    """The best candidates that are not masked, and their scores; none without an output."""
    if output_BH is None:
        return [], np.zeros(0, np.float32)
    masked_M = serving.vocabulary.encode(list(masked))
    masked_M = masked_M[masked_M >= 0]
    if category is None:
        ids, scores = best_items(serving.stepper, output_BH, scope.candidates, masked_M)
    else:
        places_C = category.places_C[~np.isin(category.places_C, masked_M)]
        found = candidate_scores(serving.stepper, output_BH, places_C)
        scored = np.flatnonzero(~np.isnan(found.scores_C))
        best = np.lexsort((-found.scores_C[scored], ~found.by_ranker_C[scored]))
        best = scored[best[: scope.candidates]]
        ids, scores = places_C[best], found.scores_C[best]
        by_ranker = int(found.by_ranker_C[best].sum())
        if by_ranker:
            # The network's scores, of another kind, come after the ranker's.
            scores[by_ranker:] = scores[by_ranker - 1]
    return serving.vocabulary.item_ids[ids].tolist(), scores


def _similar_candidates(
    serving: ServingModel, state: SessionState, scope: ListScope, masked: set[str]
) -> tuple[list[str], Scores]:
    """The items nearest to the newest one of the session that the version knows; none without vectors."""
    known = serving.vocabulary.encode(state.recent_items)
    known = known[known >= 0]
    wanted = scope.candidates + len(masked)
    found = similar_to_item(serving.stepper, int(known[-1]), wanted) if len(known) else None
    if found is None:
        return [], np.zeros(0, np.float32)
    names = serving.vocabulary.item_ids[found[0]].tolist()
    kept = [n for n, item in enumerate(names) if item is not None and item not in masked]
    return [names[n] for n in kept], found[1][kept]
