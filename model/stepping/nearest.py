"""A shortlist of the items nearest in direction, for vectors of length one: faiss walks an HNSW graph.

Malkov, Yashunin: Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical
Navigable Small World Graphs, IEEE TPAMI 2020. Which items are candidates is approximate, what they
score is exact. Needs faiss-cpu, as model/stepping/approximate.py does.

Shapes: B sessions in the wave, V items, D columns of a vector, N candidates, M masked items,
I items with a vector, k list length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.networks.network import SampledNetwork
from model.stepping.approximate import CANDIDATES, SearchedShortlist
from model.stepping.shortlist import ROWS

# Links of each item, how far is looked for them, and how many candidates a search keeps.
LINKS = 32
BUILD_WIDTH = 80
SEARCH_WIDTH = 256


class NearestShortlist(SearchedShortlist):
    """The items whose vectors have the largest products with the output, as a walk over the graph finds.

    Items of the vector zero are in no direction, and not in the graph. The bias does not choose among
    candidates: it is one for all that have a vector.
    """

    def __init__(
        self, network: SampledNetwork, *, width: int = SEARCH_WIDTH, candidates: int = CANDIDATES
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
