import numpy as np
import pandas as pd
import pytest

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.inspection.item_search import Item, ItemSearch, recommend
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.stepping.stepper import Stepper
from model.training.train import train
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.offline_lists import event_lists

TITLES = {
    "85123A": "WHITE HANGING HEART T-LIGHT HOLDER",
    "22961": "JAM MAKING SET PRINTED",
    "22960": "JAM MAKING SET  WITH JARS",
    "20725": "LUNCH BAG RED RETROSPOT",
    "20727": "LUNCH BAG  BLACK SKULL.",
    "m1": "Mug, white",
    "jam": "Jam",
    "twin-a": "Twin",
    "twin-b": "TWIN",
    "[/x]": "[bold]Brackets",
}
IDS = [*TITLES, "untitled"]
VOCABULARY = Vocabulary(IDS, np.arange(len(IDS), 0, -1), TITLES)


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("85123A", "85123A"),
        (" 85123a ", "85123A"),
        ("untitled", "untitled"),
        ("jam", "jam"),
        ("JAM", "jam"),
        ("lunch bag black skull.", "20727"),
        ("jam making set with", "22960"),
        ("white mug", "m1"),
        ("hanging haert", "85123A"),
        ("[bold]", "[/x]"),
    ],
)
def test_an_item_is_known_by_its_id_its_title_or_a_part_of_it(text: str, item: str) -> None:
    assert ItemSearch(VOCABULARY).choose(text).item_id == item


@pytest.mark.parametrize(
    ("text", "candidates"),
    [("making", ["22961", "22960"]), ("lunch bag", ["20725", "20727"]), ("twin", ["twin-a", "twin-b"])],
)
def test_a_text_that_means_several_items_names_them_and_how_to_choose(
    text: str, candidates: list[str]
) -> None:
    search = ItemSearch(VOCABULARY)
    with pytest.raises(NextclickError, match="may be any of 2 items") as caught:
        search.choose(text)
    shown = [line.split()[0] for line in caught.value.meaning.splitlines()[1:]]
    assert shown == candidates
    assert "--first" in caught.value.remedy
    assert search.choose(text, first=True).item_id == candidates[0]


def test_candidates_come_by_how_sure_they_are_then_by_popularity() -> None:
    found = ItemSearch(VOCABULARY).find("jam")
    assert [item.item_id for item in found] == ["jam", "22961", "22960"]
    assert [item.item_id for item in ItemSearch(VOCABULARY).find("jam", limit=2)] == ["jam", "22961"]
    less_popular = Vocabulary(IDS, np.arange(1, len(IDS) + 1), TITLES)
    assert ItemSearch(less_popular).choose("making", first=True).item_id == "22960"


@pytest.mark.parametrize("text", ["", " ", "zebra", "?!", "white zebra"])
def test_a_text_that_means_nothing_is_an_error(text: str) -> None:
    assert ItemSearch(VOCABULARY).find(text) == []
    with pytest.raises(NextclickError, match="there is no item"):
        ItemSearch(VOCABULARY).choose(text)
    untitled = Vocabulary(["a", "b"], np.array([1, 1]))
    with pytest.raises(NextclickError, match="knows no titles"):
        ItemSearch(untitled).choose("zebra")


@pytest.mark.parametrize(
    "network",
    ["fused", "gru4rec", "pop", "s-pop", "transitions", "item-knn", "v-sknn", "bpr-mf", "sequential-mf"],
)
@pytest.mark.parametrize("exclude", [False, True])
def test_the_list_is_the_one_that_the_session_is_shown(
    shoppers: SyntheticLog, tmp_path_factory: pytest.TempPathFactory, network: str, exclude: bool
) -> None:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    model = train_small(shoppers, registry, network=network, exclude_session_items=exclude, neighbours=20)
    session = shoppers.frame["session_id"].value_counts().index[0]
    events = shoppers.frame[shoppers.frame["session_id"] == session].head(6)
    stepper = Stepper(model, device="cpu", scoring="exact")
    shown = event_lists(model, events, stepper=stepper)
    chosen = [ItemSearch(model.vocabulary).choose(item) for item in events["item_id"]]
    for length in (1, 6):
        listed = recommend(stepper, model, chosen[:length])
        assert [one.item.item_id for one in listed] == [i for i in shown.items[length - 1] if i is not None]
        assert [one.rank for one in listed] == list(range(1, len(listed) + 1))
        np.testing.assert_allclose(
            [one.score for one in listed], shown.scores[length - 1][: len(listed)], rtol=1e-5
        )


def test_an_option_of_the_caller_s_leaves_the_chosen_items_out(
    shoppers: SyntheticLog, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = train_small(shoppers, Registry(tmp_path_factory.mktemp("registry")), network="s-pop")
    stepper = Stepper(model, device="cpu")
    chosen = [ItemSearch(model.vocabulary).item(3), ItemSearch(model.vocabulary).item(5)]
    assert {one.item.index for one in recommend(stepper, model, chosen)} >= {3, 5}
    assert {one.item.index for one in recommend(stepper, model, chosen, exclude_items=True)} & {3, 5} == set()
    with pytest.raises(ValueError, match="no item"):
        recommend(stepper, model, [])


def test_what_the_network_reads_beside_the_item_is_what_was_last_known_of_it() -> None:
    log = markov_shoppers(sessions=200, items=12, seed=3).frame
    # The brand alone tells what comes next: an item's own does not change.
    log["brand"] = "b" + log["item_id"].str[1:].astype(int).mod(3).astype(str)
    log["price"] = log["item_id"].str[1:].astype(float) + 1
    log["title"] = "Title of " + log["item_id"]
    config = ModelConfig(
        network="feature-lstm", hidden_size=8, layers=1, epochs=1, embedding="separate", embedding_size=4,
        negatives=8,
    )  # fmt: skip
    columns = ("brand", "category", "price")
    vocabulary = Vocabulary.from_frame(log, columns)
    assert vocabulary.attributes["price"]["i3"] == 4.0
    sessions = Sessions.from_frame(log, vocabulary, SessionRule(None))
    network = train(sessions, vocabulary, config).network
    model = ModelVersion("v", config, Vocabulary.from_json(vocabulary.to_json()), network.eval())
    stepper = Stepper(model, device="cpu", k=12)
    item = ItemSearch(model.vocabulary).choose("title of i3")
    (first, second) = item, ItemSearch(model.vocabulary).item(0)
    listed = recommend(stepper, model, [first, second])
    rows = stepper.initial_rows(1)
    for one in (first, second):
        brand = f"b{int(one.item_id[1:]) % 3}"
        raw = {
            "item": np.array([one.index]),
            "brand": np.array([brand], object),
            "category": np.array([None], object),
            "price": np.array([float(one.item_id[1:]) + 1], object),
        }
        ids, scores, rows = stepper.step(raw, rows)
    assert [one.item.index for one in listed] == ids[0].tolist()
    np.testing.assert_allclose([one.score for one in listed], scores[0], rtol=1e-5)
    del model.vocabulary.attributes["brand"]
    without = recommend(stepper, model, [first, second])
    assert [one.score for one in without] != [one.score for one in listed], "the brand is read"


def test_attributes_stay_with_their_items() -> None:
    frame = pd.DataFrame(
        {"item_id": ["a", "b", "a", "c"], "price": [1.0, None, 2.0, 3.0], "brand": [None, "x", None, "y"]}
    )
    columns = ("price", "brand", "user_id")
    vocabulary = Vocabulary.from_frame(frame, columns)
    assert vocabulary.attributes == {"price": {"a": 2.0, "c": 3.0}, "brand": {"b": "x", "c": "y"}}
    fewer, _ = vocabulary.restricted(np.array([1, 1, 0]), vocabulary.features.of_frame(frame[:3]))
    assert fewer.attributes == {"price": {"a": 2.0}, "brand": {"b": "x"}}
    newer = Vocabulary.from_frame(
        pd.DataFrame({"item_id": ["a", "d"], "price": [9.0, 4.0], "brand": ["z", None]}), columns
    )
    grown, _ = newer.grown_from(fewer)
    assert grown.attributes == {"price": {"a": 9.0, "d": 4.0}, "brand": {"a": "z", "b": "x"}}
    assert Vocabulary.from_json(grown.to_json()).attributes == grown.attributes
    assert str(Item(0, "a", None)) == "a"
