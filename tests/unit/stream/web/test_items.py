from pathlib import Path

import pytest

from model.networks.fused.source_arrays import SOURCES
from model.registry.registry import Registry
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot
from stream.web.items import WORDS, PageItems
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers


@pytest.mark.parametrize("network", ["fused", "gru4rec"])
def test_why_says_for_each_item_which_sources_proposed_it(tmp_path: Path, network: str) -> None:
    settings = Settings(registry_dir=tmp_path, wave_size=8)
    train_small(markov_shoppers(sessions=200, items=60, seed=3), Registry(tmp_path), network=network)
    live = ModelSlot(settings)
    live.offer(live.prepare())
    # An item that the version does not know takes a place, too.
    found = PageItems(live).why(["i3", "unknown", "i9", "i3"])
    assert len(found["items"]) == 20
    said = [source for item in found["items"] for source in item["sources"]]
    if network == "gru4rec":
        assert not said
        return
    assert all(item["sources"] for item in found["items"])
    texts = {source["text"] for source in said}
    assert "seen before in this session" in texts
    assert "it often follows “i3”" in texts
    assert "sessions like this one went on to it" in texts
    assert {source["event"] for source in said if source["source"] == "own items"} == {2, 3}
    assert {source["event"] for source in said if source["source"] == "network"} == {None}


def test_every_source_has_words() -> None:
    assert WORDS.keys() == SOURCES.keys()


def test_the_items_found_say_which_of_them_may_not_be_listed(tmp_path: Path) -> None:
    catalogue = Catalogue()
    train_small(markov_shoppers(sessions=40, items=30, seed=3), Registry(tmp_path))
    live = ModelSlot(Settings(registry_dir=tmp_path, wave_size=8), catalogue)
    live.offer(live.prepare())
    page = PageItems(live)
    assert not any(item["unlisted"] for item in page.find("", 10)["items"])
    first = page.find("", 1)["items"][0]["item_id"]
    catalogue.apply([(first, ItemWord(available=False))], "0-0")
    found = page.find("", 10)["items"]
    assert [item["unlisted"] for item in found] == [True, *[False] * 9]
    assert first not in [item["item_id"] for item in page.why([found[1]["item_id"]])["items"]]
