"""What an item costs in memory, in a process of its own: the most that it held while it read a vocabulary."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.registry.version_weights import ITEM_BYTES, TEXT_COPIES, VALUE_BYTES
from model.stepping import score_parts
from model.stepping.score_parts import sessions_at_once
from model.stepping.stepper import Stepper

ROOT = Path(__file__).parents[4]
ITEMS = 200_000
READS = """
import sys
from model.data.vocabulary import Vocabulary

def held(name):
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))

content = open(sys.argv[1], "rb").read()
before = held("VmRSS:")
vocabulary = Vocabulary.from_json(content)
print(len(vocabulary), held("VmHWM:") - before)
"""


def plain(items: int) -> dict[str, Any]:
    return {"item_ids": [str(item) for item in range(items)], "counts": [7] * items, "titles": {}}


def titled(items: int) -> dict[str, Any]:
    return plain(items) | {"titles": {str(item): f"title {item}" for item in range(items)}}


def of_brands_and_prices(items: int) -> dict[str, Any]:
    brands = {str(item): f"brand {item}" for item in range(items)}
    return plain(items) | {
        "attributes": {"brand": brands, "price": {str(item): 1.5 for item in range(items)}}
    }


def of_lists(items: int) -> dict[str, Any]:
    return plain(2) | {"attributes": {"brand": {"0": [[] for _ in range(items)]}}}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's count of a process's memory is read")
@pytest.mark.parametrize("form", [plain, titled, of_brands_and_prices, of_lists])
def test_reading_takes_no_more_memory_than_is_asked_for_before(
    tmp_path: Path, form: Callable[[int], dict[str, Any]]
) -> None:
    file = tmp_path / "vocabulary.json"
    content = json.dumps(form(ITEMS)).encode()
    file.write_bytes(content)
    command = [sys.executable, "-c", READS, str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode == 0, ended.stderr
    items, taken = map(int, ended.stdout.split())
    assert taken <= VALUE_BYTES * content.count(b",") + TEXT_COPIES * len(content)
    if form is plain:
        # 57 MB of such items, 4.2 million of them, are read in 1 GB.
        assert items == ITEMS and taken <= ITEM_BYTES * ITEMS


def test_a_vocabulary_with_prices_that_json_has_no_word_for_is_read_as_it_was() -> None:
    prices = {"price": {"a": float("inf"), "b": 2.0}}
    vocabulary = Vocabulary(["a", "b"], np.array([2, 1]), {"a": "Ä"}, attributes=prices)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert (again.item_ids.tolist(), again.titles, again.attributes) == (["a", "b"], {"a": "Ä"}, prices)
    lone = (
        '{"item_ids": ["a", "b\\ud800"], "counts": [1, 2], "titles": {}, "attributes": {"price": {"a": NaN}}}'
    )
    with pytest.raises(ValueError, match="surrogates"):
        Vocabulary.from_json(lone)


@pytest.mark.parametrize("network", ["pop", "gru4rec", "fused", "item-knn"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_wave_that_is_scored_in_parts_has_the_same_lists(
    monkeypatch: pytest.MonkeyPatch, network: str, deterministic: bool
) -> None:
    torch.manual_seed(3)
    vocabulary = Vocabulary([f"i{item}" for item in range(50)], np.arange(50, 0, -1))
    config = ModelConfig(network=network, hidden_size=4, neighbours=3)
    model = ModelVersion("v", config, vocabulary, build(config, vocabulary).eval())
    stepper = Stepper(model, device="cpu", wave_size=6, deterministic=deterministic, scoring="exact")
    columns = {"item": np.array([3, 1, 4, 1, 5, 9])} | dict.fromkeys(
        (name for name in model.network.columns if name != "item"), np.full(6, None, object)
    )
    exclude = np.array([[3, -1], [0, 1], [-1, -1], [2, 0], [1, 49], [9, 8]])
    whole = stepper.step(columns, stepper.initial_rows(6), exclude)
    monkeypatch.setattr(score_parts, "MOST_SCORE_BYTES", 2 * 50 * 4)
    assert sessions_at_once(6, 50) == 2
    parts = stepper.step(columns, stepper.initial_rows(6), exclude)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-5)
    np.testing.assert_array_equal(parts[2], whole[2])
