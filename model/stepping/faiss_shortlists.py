"""Shortlists for vocabularies too large to read whole: faiss finds candidates, their scores are exact.

`ApproximateShortlist` searches a few clusters of items. It pays off above some 500,000 items; below,
`Bfloat16Shortlist` is as fast and leaves nothing out. `NearestShortlist` walks an HNSW graph to the
vectors nearest in direction (Malkov, Yashunin, IEEE TPAMI 2020), for vectors of length one. Both need
faiss-cpu, which nextclick does not depend on.

Shapes: B sessions in the wave, V items, H units of the output, D columns of a vector,
N candidates, M masked items, I items with a vector, k list length.
"""

from __future__ import annotations

from abc import abstractmethod
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.errors import NextclickError
from model.networks.item_scores import item_scores
from model.networks.network import GradientNetwork
from model.stepping.shortlist import ROWS, Shortlist
from model.stepping.top_k import top_of

LINKS = 32  # of each item in the graph
BUILD_WIDTH = 80  # candidates kept while an item's links are searched
SEARCH_WIDTH = 256  # candidates kept while a list is searched

CANDIDATES = 100
PROBES = 128  # clusters searched, of about 4 sqrt(V)
TRAINING_ROWS_PER_CLUSTER = 40
TRAINING_ROUNDS = 8
RISEN = 1024  # items scored beside the index because their bias rose most


class SearchedShortlist(Shortlist):
    """The best of the candidates that a search finds: the choice is approximate, the scores are exact.

    A search asks for N = 100 + M candidates, so 100 are left when all M masked items are among them.
    Raises NextclickError when faiss is not installed.
    """

    def __init__(self, network: GradientNetwork, candidates: int) -> None:
        super().__init__(network)
        self._candidates = candidates
        self.faiss = load_faiss()

    @abstractmethod
    def search(self, output_BH: Tensor, count: int) -> Tensor:
        """At least `count` candidate item indices, B×N, no item twice in a row, padded with -1."""

    def best(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The best of the candidates; for sessions with fewer than k of them, the list of all scores."""
        # faiss keeps its number of threads for each calling thread.
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        masked = 0 if exclude_BM is None else exclude_BM.shape[1]
        ids_BN = self.search(output_BH, max(self._candidates, k) + masked)
        if exclude_BM is not None:
            ids_BN = ids_BN.masked_fill((ids_BN[:, :, None] == exclude_BM[:, None]).any(2), -1)
        places_BN = ids_BN.clamp(min=0)
        rows_BNH = self.table_VH.index_select(0, places_BN.flatten()).view(
            *ids_BN.shape, self.table_VH.shape[1]
        )
        # Unlike in a product of matrices, a row's sum does not depend on other rows.
        scores_BN = (rows_BNH * output_BH[:, None]).sum(2) + self.bias.now()[places_BN]
        ids_Bk, scores_Bk = top_of((ids_BN, scores_BN.masked_fill(ids_BN < 0, -torch.inf)), k)
        self.replace_with_exact(ids_Bk, scores_Bk, (ids_Bk < 0).any(1), output_BH, exclude_BM)
        return ids_Bk, scores_Bk


class ApproximateShortlist(SearchedShortlist):
    """The items with the largest inner products in the clusters nearest to the output.

    The index holds an item's row with its bias as one more column; an output gets a one there. The
    index keeps the bias of the time it was made: when a prior moves, the candidates' scores move at
    once, their choice does not. After `set_table`, new items and the `RISEN` items whose bias rose
    most are scored beside the index.
    """

    def __init__(
        self, network: GradientNetwork, *, probes: int = PROBES, candidates: int = CANDIDATES
    ) -> None:
        super().__init__(network, candidates)
        items, units = self.table_VH.shape
        clusters = max(1, min(int(4 * items**0.5), items // TRAINING_ROWS_PER_CLUSTER))
        self._quantizer = self.faiss.IndexFlatIP(units + 1)
        self._index = self.faiss.IndexIVFFlat(
            self._quantizer, units + 1, clusters, self.faiss.METRIC_INNER_PRODUCT
        )
        self._index.cp.niter = TRAINING_ROUNDS
        self._index.nprobe = min(probes, clusters)
        self._indexed_V = self.bias.now()
        self._beside_E = torch.zeros(0, dtype=torch.int64)
        self._is_beside_V = torch.zeros(items, dtype=torch.bool)
        rows_T = torch.randperm(items, generator=torch.Generator().manual_seed(0))
        self._index.train(self._vectors(rows_T[: clusters * TRAINING_ROWS_PER_CLUSTER]).numpy())
        for begin in range(0, items, ROWS):
            self._index.add(self._vectors(torch.arange(begin, min(begin + ROWS, items))).numpy())

    def set_table(self, table_VH: Tensor, bias_V: Tensor, moved_R: Tensor) -> None:
        """Keep the index; choose the items that are scored beside it."""
        super().set_table(table_VH, bias_V, moved_R)
        indexed = len(self._indexed_V)
        risen = (bias_V[:indexed] - self._indexed_V).topk(min(RISEN, indexed)).indices
        further = indexed + torch.nonzero(bias_V[indexed:] > -torch.inf)[:, 0]
        self._beside_E = torch.cat([risen, further])
        self._is_beside_V = torch.zeros(len(table_VH), dtype=torch.bool)
        self._is_beside_V[self._beside_E] = True

    def search(self, output_BH: Tensor, count: int) -> Tensor:
        """The items that the index finds, and the best items beside it."""
        query_BH = pad(output_BH, (0, 1), value=1).contiguous()
        ids_BN = torch.from_numpy(self._index.search(query_BH.numpy(), count)[1])
        if not len(self._beside_E):
            return ids_BN
        ids_BN.masked_fill_((ids_BN >= 0) & self._is_beside_V[ids_BN], -1)
        return torch.cat([ids_BN, self._best_beside(output_BH, count)], 1)

    def _best_beside(self, output_BH: Tensor, count: int) -> Tensor:
        beside_E = self._beside_E
        scores_BE = item_scores(output_BH, self.table_VH[beside_E], self.bias.now()[beside_E])
        return beside_E[scores_BE.topk(min(count, len(beside_E))).indices]

    def _vectors(self, ids_R: Tensor) -> Tensor:
        return torch.cat([self.table_VH[ids_R], self.bias.now()[ids_R, None]], 1)


def load_faiss() -> ModuleType:
    """The module faiss. Raises NextclickError when it is not installed."""
    try:
        import faiss
    except ImportError:
        raise NextclickError(
            "scoring is `approximate`, and faiss is not installed",
            "Without it there is no index of the items to look into; nothing was started.",
            "Run `pip install faiss-cpu==1.15.1`, or set scoring to `bfloat16` or `exact`.",
        ) from None
    module: ModuleType = faiss
    return module


class NearestShortlist(SearchedShortlist):
    """The items with the largest products with the output that a walk over the graph finds.

    An item with the vector zero has no direction and is not in the graph. The bias plays no part in
    the choice: all items with a vector have the same one.
    """

    def __init__(
        self, network: GradientNetwork, *, width: int = SEARCH_WIDTH, candidates: int = CANDIDATES
    ) -> None:
        super().__init__(network, candidates)
        self._width = width
        items_I = torch.nonzero(self.table_VH.any(1))[:, 0]
        # Place -1, nothing found, maps to item -1.
        self._items = torch.cat([items_I, items_I.new_tensor([-1])])
        self._index = self.faiss.IndexHNSWFlat(self.table_VH.shape[1], LINKS, self.faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = BUILD_WIDTH
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        for begin in range(0, len(items_I), ROWS):
            self._index.add(self.table_VH[items_I[begin : begin + ROWS]].numpy())

    def search(self, output_BH: Tensor, count: int) -> Tensor:
        """The items that the walk finds."""
        self._index.hnsw.efSearch = max(self._width, count)
        found_BN = torch.from_numpy(self._index.search(output_BH.contiguous().numpy(), count)[1])
        return self._items[found_BN]
