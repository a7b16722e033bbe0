"""What is asked for is what a wave would publish, and keeps to what else was asked."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from model.config import LIST_LENGTH
from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.asking.query import Refusal
from stream.asking.session_output import NotHere
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.rules import Rules
from stream.events import Event
from stream.sessions.watermark import Watermark
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.unit.stream.asking.asked import AskedWorker, events_with_unknown_items, ids

ITEMS = 60
LOG = markov_shoppers(sessions=40, items=ITEMS, seed=1)
NETWORKS = ("gru4rec", "fused", "transitions", "s-pop")
WORDS = {
    f"i{n}": ItemWord(brand=f"b{n % 6}", category="home/mugs" if n % 3 else "garden", available=n % 9 > 0)
    for n in range(ITEMS)
}
RULES = """
[never]
brands = ["b5"]
[[cap]]
per = "brand"
most = 4
[[boost]]
category = "garden"
up = 6
[[pin]]
item = "never heard of"
place = 2
[fallback]
items = ["i7"]
"""
MakeWorker = Callable[..., AskedWorker]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Folder and version by network."""
    folder = tmp_path_factory.mktemp("registry")
    return {
        network: (
            folder,
            train_small(
                LOG, Registry(folder), network=network, exclude_session_items=network != "s-pop"
            ).version,
        )
        for network in NETWORKS
    }


@pytest.fixture
def make(registry: dict[str, tuple[Path, str]], tmp_path: Path) -> Iterator[MakeWorker]:
    """Makes workers of a network, of a catalogue if given."""
    made: list[AskedWorker] = []

    def make_one(network: str, catalogue: Catalogue | None = None) -> AskedWorker:
        folder, version = registry[network]
        settings = Settings(registry_dir=folder, wave_size=8, deterministic=True)
        live = ModelSlot(settings, catalogue)
        live.offer(live.prepare(version))
        made.append(AskedWorker(live, tmp_path / f"state-{len(made)}"))
        return made[-1]

    yield make_one
    for worker in made:
        worker.store.close()


def with_rules() -> Catalogue:
    catalogue = Catalogue()
    catalogue.apply(WORDS.items(), "0-59")
    catalogue.set_rules(Rules.parse(RULES, "v"))
    return catalogue


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rules", [False, True], ids=["plain", "rules"])
def test_asked_right_after_an_event_the_list_is_the_published_one_byte_for_byte(
    make: MakeWorker, network: str, rules: bool
) -> None:
    worker = make(network, with_rules() if rules else None)
    fallbacks = set[str]()
    for stepped in worker.waves(events_with_unknown_items(LOG, 64)):
        for shown in stepped.lists:
            fallbacks.add(shown.fallback)
            body = worker.ask(shown.session_id)
            assert ids(body) == shown.items
            scores = np.array([row["score"] for row in body["items"]], np.float32)
            assert scores.tobytes() == shown.scores.tobytes()
            assert body["fallback"] == ("empty_session" if shown.fallback == "empty_session" else None)
            assert (body["position"], body["model_version"]) == (shown.position, shown.model_version)
            assert ids(worker.ask(shown.session_id, ("k", "7"))) == shown.items[:7]
    assert fallbacks == {"", "unknown_item", "empty_session"}


def last_session(worker: AskedWorker, network: str = "") -> str:
    """Steps the log; → a session with a list of its own."""
    shown = [one for stepped in worker.waves(list(events_of(LOG.frame))[:80]) for one in stepped.lists]
    return shown[-1].session_id


@pytest.mark.parametrize("network", NETWORKS)
def test_a_state_of_another_version_is_asked_for_as_the_next_wave_would_rebuild_it(
    make: MakeWorker, registry: dict[str, tuple[Path, str]], network: str
) -> None:
    worker = make(network)
    session_id = last_session(worker)
    expected = worker.ask(session_id)
    state = worker.partition.read_state(session_id)
    assert state is not None
    # As recovery leaves it: the items are there, the hidden state is not.
    state.model_version, state.hidden, state.list_items = "", b"", []
    worker.partition.put(10_000, session_id, state, state.recent_offsets[0])
    assert worker.ask(session_id) == expected
    before = worker.partition.read_state(session_id)
    assert before is not None and (before.hidden, before.model_version) == (b"", "")


@pytest.mark.parametrize("network", NETWORKS)
def test_a_category_and_what_is_excluded_are_kept_to_and_the_rules_still_hold(
    make: MakeWorker, network: str
) -> None:
    catalogue = with_rules()
    worker = make(network, catalogue)
    session_id = last_session(worker)
    plain = ids(worker.ask(session_id))
    without = ids(worker.ask(session_id, ("exclude", plain[0]), ("exclude", plain[3])))
    assert not {plain[0], plain[3]} & set(without)
    assert len(without) == len(set(without)) == LIST_LENGTH
    body = worker.ask(session_id, ("category", "home"), ("k", "100"))
    listed = ids(body)
    own = worker.partition.read_state(session_id)
    assert own is not None
    masked = set(own.recent_items) if worker.live.current.excludes_session_items else set()
    possible = {
        item
        for item, word in WORDS.items()
        if word.category_path == "home/mugs" and word.available and word.brand != "b5" and item not in masked
    }
    assert set(listed) == possible & set(worker.live.current.vocabulary.index)
    scores = [row["score"] for row in body["items"]]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(Refusal, match="no item is known to be in this category"):
        worker.ask(session_id, ("category", "home/mug"))


def test_the_items_of_a_category_are_in_the_order_of_the_whole_list(make: MakeWorker) -> None:
    catalogue = Catalogue()
    catalogue.apply(WORDS.items(), "0-59")
    worker = make("gru4rec", catalogue)
    session_id = last_session(worker)
    whole = [item for item in ids(worker.ask(session_id, ("k", "100"))) if item in WORDS]
    listed = ids(worker.ask(session_id, ("category", "garden"), ("k", "100")))
    assert listed == [item for item in whole if WORDS[item].category_path == "garden"]


def test_an_item_that_is_sold_out_is_gone_from_the_next_answer(make: MakeWorker) -> None:
    catalogue = Catalogue()
    worker = make("gru4rec", catalogue)
    session_id = last_session(worker)
    first = ids(worker.ask(session_id))[0]
    catalogue.apply([(first, ItemWord(available=False))], "0-0")
    for parameters in ([], [("k", "100")], [("exclude", "i1")]):
        body = worker.ask(session_id, *parameters)
        assert first not in ids(body) and body["item_words"] == "0-0"
    assert first not in ids(worker.similar("i3", ("k", "100")))


def test_a_session_that_is_unknown_or_over_gets_popular_items_and_is_said_to(make: MakeWorker) -> None:
    worker = make("gru4rec", with_rules())
    session_id = last_session(worker)
    body = worker.ask("nobody")
    assert (body["fallback"], body["position"], body["last_event_time_ms"]) == ("unknown_session", 0, None)
    assert ids(body) == worker.live.current.popular_list([])[0]
    garden = ids(worker.ask("nobody", ("category", "garden"), ("k", "3")))
    assert garden and all(WORDS[item].category_path == "garden" for item in garden)
    worker.partition.watermark = Watermark(2**52)
    assert worker.ask(session_id)["fallback"] == "session_over"


def test_a_session_of_another_workers_partition_is_not_answered_here(make: MakeWorker) -> None:
    worker = make("s-pop")
    del worker.processor.partitions[0]
    with pytest.raises(NotHere):
        worker.ask("s")


@pytest.mark.parametrize("network", NETWORKS)
def test_candidates_come_back_in_the_order_of_the_list_and_those_without_a_score_last(
    make: MakeWorker, network: str
) -> None:
    catalogue = Catalogue()
    worker = make(network, catalogue)
    session_id = last_session(worker)
    # Of neighbours there may be few: a longer list is filled.
    listed = ids(worker.ask(session_id, ("k", "30")))
    catalogue.apply([(listed[2], ItemWord(available=False))], "0-0")
    candidates = ["never heard of", *reversed(listed), "nor of this"]
    body = worker.rank(session_id, candidates)
    assert sorted(ids(body)) == sorted(candidates)
    why = {row["item_id"]: row["why"] for row in body["items"]}
    assert [item for item in ids(body) if why[item] == "unknown"] == ["never heard of", "nor of this"]
    assert ids(body)[-2:] == ["never heard of", "nor of this"]
    assert ids(body)[-3] == listed[2] and why[listed[2]] == "unlisted"
    scored = [row for row in body["items"] if row["why"] is None]
    assert all(row["score"] is not None and row["by"] for row in scored)
    # A list of neighbours may be filled with popular items, which have no score.
    expected = [item for item in listed if why[item] is None]
    if network == "gru4rec":
        assert ids(body)[: len(scored)] == expected == listed[:2] + listed[3:]
    assert set(ids(body)[: len(scored)]) == set(expected)
    popular = worker.rank("nobody", candidates)
    assert popular["fallback"] == "unknown_session"
    assert {row["by"] for row in popular["items"]} == {"popularity", None}


@pytest.mark.parametrize("network", NETWORKS)
def test_similar_items_are_without_the_item_and_what_is_excluded(make: MakeWorker, network: str) -> None:
    worker = make(network)
    body = worker.similar("i3", ("k", "5"))
    assert body["by"] == ("vectors" if network in ("gru4rec", "fused") else "lists")
    assert "i3" not in ids(body) and len(ids(body)) <= 5
    if ids(body):
        fewer = worker.similar("i3", ("k", "5"), ("exclude", ids(body)[0]))
        assert ids(fewer)[: len(ids(body)) - 1] == ids(body)[1:]
    with pytest.raises(Refusal, match="does not know this item"):
        worker.similar("never heard of")


def test_a_category_of_the_log_counts_where_the_shop_says_nothing(make: MakeWorker) -> None:
    catalogue = Catalogue()
    worker = make("gru4rec", catalogue)
    session_id = last_session(worker)
    worker.live.current.vocabulary.attributes["category"] = {"i1": "shoes", "i2": "shoes/boots", "i3": "hats"}
    catalogue.apply([("i2", ItemWord(category="hats")), ("i1", ItemWord(price=3.0))], "0-1")
    shown = set(ids(worker.ask(session_id, ("category", "shoes"))))
    own = worker.partition.read_state(session_id)
    assert own is not None
    assert shown == {"i1"} - set(own.recent_items)


def test_events_of_the_same_session_change_the_answer(make: MakeWorker) -> None:
    worker = make("gru4rec")
    events = [Event("s", 1_000 * n, f"i{n}") for n in range(1, 5)]
    lists = []
    for _ in worker.waves(events):
        lists.append(tuple(ids(worker.ask("s"))))
    assert len(set(lists)) == len(lists) == 4


PLACEMENTS = """
[placement.basket]
length = 6
never.brands = ["b1"]
boost = []
pin = [{ item = "i4", place = 1 }]
cap = [{ per = "brand", most = 2 }]

[placement.product]
length = 5
source = "similar"
pin = []

[placement.garden]
category = "garden"
length = 30
source = "popular"
pin = []
"""


@pytest.mark.parametrize("network", NETWORKS)
def test_a_placement_has_its_own_length_source_and_rules_beside_those_of_all_lists(
    make: MakeWorker, network: str
) -> None:
    catalogue = with_rules()
    worker = make(network, catalogue)
    session_id = last_session(worker)
    plain = worker.ask(session_id)
    catalogue.set_rules(Rules.parse(RULES + PLACEMENTS, "w"))
    assert ids(worker.ask(session_id)) == ids(plain)
    for asked in (session_id, "nobody"):
        body = worker.ask(asked, ("placement", "basket"))
        basket = ids(body)
        assert (body["placement"], len(basket), len(set(basket))) == ("basket", 6, 6)
        state = worker.partition.read_state(asked)
        seen = worker.live.current.excludes_session_items and state is not None and "i4" in state.recent_items
        assert (basket[0] == "i4") is not seen
        brands = [WORDS[item].brand for item in basket]
        # A pinned item comes last, so that it may break a cap.
        assert not {"b1", "b5"} & set(brands)
        assert max(brands[1:].count(brand) for brand in brands) <= 2
        assert all(WORDS[item].available for item in basket)
        garden = ids(worker.ask(asked, ("placement", "garden")))
        assert garden and all(WORDS[item].category == "garden" for item in garden)
        assert ids(worker.ask(asked, ("placement", "basket"), ("k", "3"))) == basket[:3]
    with pytest.raises(Refusal, match="no placement of this name") as refused:
        worker.ask(session_id, ("placement", "home"))
    assert "basket, garden, product" in refused.value.body["do"]


def test_a_placement_of_similar_items_is_of_those_nearest_to_the_newest_item(make: MakeWorker) -> None:
    catalogue = Catalogue()
    catalogue.set_rules(Rules.parse('[placement.product]\nsource = "similar"\nlength = 5', "v"))
    worker = make("gru4rec", catalogue)
    session_id = last_session(worker)
    state = worker.partition.read_state(session_id)
    assert state is not None
    near = ids(worker.similar(state.recent_items[-1], ("k", "60")))
    expected = [item for item in near if item not in state.recent_items][:5]
    body = worker.ask(session_id, ("placement", "product"))
    assert ids(body) == expected and body["rules"] == "v"


@pytest.mark.parametrize("network", ["gru4rec", "transitions"])
def test_what_a_session_has_dismissed_or_by_rule_bought_is_in_no_answer(
    make: MakeWorker, network: str
) -> None:
    catalogue = Catalogue()
    catalogue.set_rules(Rules.parse("[session]\nseen = false\nbought = true\n[placement.all]", "v"))
    worker = make(network, catalogue)
    events = [Event("s", 1_000, "i1"), Event("s", 2_000, "i2"), Event("new", 2_500, "i9", kind="dismiss")]
    for _ in worker.waves(events):
        pass
    dismissed, bought = ids(worker.ask("s"))[:2]
    more = [
        Event("s", 3_000, dismissed, kind="dismiss"),
        Event("s", 4_000, bought, kind="purchase"),
        Event("s", 5_000, "i2"),
    ]
    first = len(events)
    for offset, event in enumerate(more, first):
        worker.step(offset, event)
    for parameters in ([], [("k", "60")], [("exclude", "i3")], [("placement", "all")]):
        assert not {dismissed, bought} & set(ids(worker.ask("s", *parameters)))
    assert "i9" not in ids(worker.ask("new", ("k", "60")))
