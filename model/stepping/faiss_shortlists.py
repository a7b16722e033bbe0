"""Shortlists for vocabularies too large to be read whole: faiss finds candidates, their scores are exact.

`ApproximateShortlist` looks into a few clusters of items; worth it above some 500,000 items, since
below `Bfloat16Shortlist` is as fast and leaves nothing out. `NearestShortlist` walks an HNSW graph to
the vectors nearest in direction (Malkov, Yashunin, IEEE TPAMI 2020), for vectors of length one.
Needs faiss-cpu, which nextclick does not depend on.

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

# Links of each item, how far is looked for them, and how many candidates a search keeps.
LINKS = 32
BUILD_WIDTH = 80
SEARCH_WIDTH = 256

CANDIDATES = 100
# Of about 4 sqrt(V) clusters of items, how many are looked into.
PROBES = 128
TRAINING_ROWS_PER_CLUSTER = 40
TRAINING_ROUNDS = 8
RISEN = 1024


class SearchedShortlist(Shortlist):
    """The best of the candidates that a search finds; which these are is approximate, their scores are exact.

    M masked items can use up M of the N = 100 + M candidates, so 100 stay.

    Raises NextclickError when faiss is not installed.
    """

    def __init__(self, network: GradientNetwork, candidates: int) -> None:
        super().__init__(network)
        self._candidates = candidates
        self.faiss = load_faiss()

    @abstractmethod
    def search(self, output_BH: Tensor, count: int) -> Tensor:
        """`count` candidate item indices, B×N, no item twice in a row, padded with -1."""

    def best(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The best of what the search finds; of sessions of which it finds fewer than k, the exact list."""
        # It counts its threads for itself, anew in each thread that calls it.
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        masked = 0 if exclude_BM is None else exclude_BM.shape[1]
        ids_BN = self.search(output_BH, max(self._candidates, k) + masked)
        if exclude_BM is not None:
            ids_BN = ids_BN.masked_fill((ids_BN[:, :, None] == exclude_BM[:, None]).any(2), -1)
        places_BN = ids_BN.clamp(min=0)
        rows_BNH = self.table_VH.index_select(0, places_BN.flatten()).view(
            *ids_BN.shape, self.table_VH.shape[1]
        )
        # A row's sum does not depend on the rows beside it; that of a product of matrices may.
        scores_BN = (rows_BNH * output_BH[:, None]).sum(2) + self.bias.now()[places_BN]
        ids_Bk, scores_Bk = top_of((ids_BN, scores_BN.masked_fill(ids_BN < 0, -torch.inf)), k)
        self.complete(ids_Bk, scores_Bk, (ids_Bk < 0).any(1), output_BH, exclude_BM)
        return ids_Bk, scores_Bk


class ApproximateShortlist(SearchedShortlist):
    """The items with the largest inner products in the clusters nearest to the output.

    An item is its row and its bias, an output itself and a one. The index holds the bias of the time
    it was made; when a prior moves, the candidates' scores follow at once, their choice does not. When a
    table is taken, its further items and the `RISEN` whose bias has risen most are scored beside the index.
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
        """Leave the index as it is; choose which items are scored beside it."""
        super().set_table(table_VH, bias_V, moved_R)
        indexed = len(self._indexed_V)
        risen = (bias_V[:indexed] - self._indexed_V).topk(min(RISEN, indexed)).indices
        further = indexed + torch.nonzero(bias_V[indexed:] > -torch.inf)[:, 0]
        self._beside_E = torch.cat([risen, further])
        self._is_beside_V = torch.zeros(len(table_VH), dtype=torch.bool)
        self._is_beside_V[self._beside_E] = True

    def search(self, output_BH: Tensor, count: int) -> Tensor:
        """What the index finds, and the best of what stands beside it."""
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
    """The module. Raises NextclickError when it is not installed."""
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
    """The items whose vectors have the largest products with the output, as a walk over the graph finds.

    Items of the vector zero are in no direction, and not in the graph. The bias does not choose among
    candidates: it is one for all that have a vector.
    """

    def __init__(
        self, network: GradientNetwork, *, width: int = SEARCH_WIDTH, candidates: int = CANDIDATES
    ) -> None:
        super().__init__(network, candidates)
        self._width = width
        items_I = torch.nonzero(self.table_VH.any(1))[:, 0]
        # Place -1, which stands for nothing found, is item -1.
        self._items = torch.cat([items_I, items_I.new_tensor([-1])])
        self._index = self.faiss.IndexHNSWFlat(self.table_VH.shape[1], LINKS, self.faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = BUILD_WIDTH
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        for begin in range(0, len(items_I), ROWS):
            self._index.add(self.table_VH[items_I[begin : begin + ROWS]].numpy())

    def search(self, output_BH: Tensor, count: int) -> Tensor:
        """What the walk finds."""
        self._index.hnsw.efSearch = max(self._width, count)
        found_BN = torch.from_numpy(self._index.search(output_BH.contiguous().numpy(), count)[1])
        return self._items[found_BN]
