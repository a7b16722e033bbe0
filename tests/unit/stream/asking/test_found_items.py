"""What the shop says of its items is what people find them by and see, before what a version has learned."""

from pathlib import Path
from typing import Any

import pytest

from model.registry.registry import Registry
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot
from stream.web.items import PageItems
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.unit.stream.asking.asked import AskedWorker

LOG = markov_shoppers(sessions=40, items=30, seed=3)
# Learned from the log: every item has a title.
FRAME = LOG.frame.assign(title="Old thing " + LOG.frame["item_id"].astype(str))
WORDS = {
    "i1": ItemWord(title="White mug", brand="Acme", category="home/kitchen", price=4.5),
    "i2": ItemWord(title="White mug, large", brand="Acme", available=False),
    "i3": ItemWord(brand="Acme"),
    "new": ItemWord(title="Mug", category=["home", "garden"]),
}


@pytest.fixture
def live(tmp_path: Path) -> ModelSlot:
    catalogue = Catalogue()
    log = type(LOG)(**{**vars(LOG), "frame": FRAME})
    train_small(log, Registry(tmp_path))
    live = ModelSlot(Settings(registry_dir=tmp_path, wave_size=8), catalogue)
    live.offer(live.prepare())
    catalogue.apply(WORDS.items(), "0-3")
    return live


def found(live: ModelSlot, text: str, limit: int = 10) -> list[str]:
    return [item["item_id"] for item in PageItems(live).find(text, limit)["items"]]


def test_items_are_found_by_the_words_of_the_shop_and_by_what_was_learned_of_the_others(
    live: ModelSlot,
) -> None:
    # The whole title first, then a part of it, the popular one first.
    assert found(live, "mug")[0] == "new"
    assert set(found(live, "mug")) == {"new", "i1", "i2"}
    assert found(live, "white  MUG") == ["i1", "i2"]
    assert set(found(live, "acme")) == {"i1", "i2", "i3"}
    assert found(live, "kitchen white") == ["i1"]
    assert found(live, "garden") == ["new"]
    # By its old title an item that has a new one is found no more.
    assert found(live, "old thing i1", 1) != ["i1"]
    assert "i1" not in found(live, "old", 50) and "i3" in found(live, "old", 50)
    assert len(found(live, "old", 50)) == len(LOG.frame["item_id"].unique()) - 2
    assert found(live, "old thing i4", 1) == ["i4"]
    assert found(live, "old thinng i4", 1) == ["i4"]
    for item_id in ("i1", "I1", "new"):
        assert found(live, item_id, 1) == [item_id.casefold()]
    assert found(live, "nothing of this name") == []


def test_what_is_found_says_the_newest_title_and_all_that_the_shop_says(live: ModelSlot) -> None:
    mug, new = (PageItems(live).find(text, 1)["items"][0] for text in ("i1", "new"))
    assert (mug["title"], new["title"], new["events"]) == ("White mug", "Mug", 0)
    assert mug["events"] > 0
    said = {
        "title": "White mug",
        "brand": "Acme",
        "category": "home/kitchen",
        "price": 4.5,
        "available": True,
    }
    assert mug["word"].items() >= said.items()
    assert new["word"]["category"] == "home/garden"
    titles = {item["item_id"]: item["title"] for item in PageItems(live).find("", 50)["items"]}
    assert titles["i1"] == "White mug" and titles["i3"] == "Old thing i3"
    live.catalogue.apply([("i1", ItemWord(title="Grey mug")), ("new", None)], "0-5")
    assert found(live, "mug", 50)[0] in ("i1", "i2") and "new" not in found(live, "mug", 50)
    assert found(live, "grey") == ["i1"]
    live.catalogue.apply([("i1", None)], "0-6")
    assert "i1" in found(live, "old", 50)


def test_every_answer_that_shows_titles_shows_the_newest(live: ModelSlot, tmp_path: Path) -> None:
    live.catalogue.apply([("i2", ItemWord(title="White mug, large"))], "0-4")
    worker = AskedWorker(live, tmp_path / "state")
    everything = [f"i{n}" for n in range(30)]
    known = live.current.vocabulary.index
    expected = {item: f"Old thing {item}" for item in known} | {"i1": "White mug", "i2": "White mug, large"}

    def check(rows: list[dict[str, Any]]) -> set[str]:
        assert rows and {row["title"] == expected[row["item_id"]] for row in rows} == {True}
        return {row["item_id"] for row in rows} & {"i1", "i2"}

    seen = check(worker.rank("nobody", [item for item in everything if item in known])["items"])
    assert seen == {"i1", "i2"}
    check(worker.ask("nobody", ("k", "20"))["items"])
    assert check(worker.similar("i3", ("k", "29"))["items"]) == {"i1", "i2"}
    why = PageItems(live).why(["i1", "i5"])
    check(why["items"])
    worker.store.close()
