"""A fused list without some of its sources: to see what each is worth, or where one does harm.

Shapes: B sessions, C candidates, F features.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from model.errors import NextclickError
from model.networks.fused.source_arrays import SOURCES, SOURCES_FEATURES, Floats, Ints, Longs


def check_sources(names: Collection[str]) -> None:
    """Raises NextclickError when one of the names is no source, or when no source is left."""
    unknown = sorted(set(names) - set(SOURCES))
    if unknown:
        raise NextclickError(
            f"a fused list has no source {unknown[0]!r}",
            "without_sources names the sources that it does without.",
            f"Its sources are: {', '.join(SOURCES)}.",
        )
    if set(names) >= set(SOURCES):
        raise NextclickError(
            "without_sources leaves no source of the fused list",
            "It would propose popular items alone.",
            "Leave one source out, or train `--network pop`.",
        )


def without(
    ids_BC: Longs, features_BCF: Floats, count_B: Longs, names: Collection[str], kept: Ints
) -> tuple[Longs, Floats, Longs]:
    """The candidates without those that only the sources `names` proposed, and without their features.

    Candidates keep their order; the items of `kept` stay, whoever proposed them.

    >>> features = np.zeros((1, 2, 20), np.float32)
    >>> features[0, 0, SOURCES["network"]], features[0, 1, SOURCES["next items"]] = 1, 1
    >>> found = without(np.array([[7, 9]]), features, np.array([2]), ["network"], np.array([], np.int32))
    >>> found[0].tolist(), found[2].tolist()
    ([[9, -1]], [1])
    """
    width = features_BCF.shape[2]
    features_BCF[:, :, [column for name in names for column in SOURCES_FEATURES[name] if column < width]] = 0
    others = [feature for name, feature in SOURCES.items() if name not in names and feature < width]
    is_candidate_BC = np.arange(ids_BC.shape[1]) < count_B[:, None]
    stays_BC = is_candidate_BC & ((features_BCF[:, :, others] > 0).any(2) | np.isin(ids_BC, kept))
    order_BC = np.argsort(~stays_BC, axis=1, kind="stable")
    count_B = stays_BC.sum(1)
    ids_BC = np.take_along_axis(ids_BC, order_BC, 1)
    ids_BC[np.arange(ids_BC.shape[1]) >= count_B[:, None]] = -1
    return ids_BC, np.take_along_axis(features_BCF, order_BC[:, :, None], 1), count_B
