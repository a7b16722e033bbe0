"""What is tried without a rule is what is served once the rule is taken out of the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from multidict import MultiDict

from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.asking.query import Refusal, TryQuery
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.rule_parts import parts_of
from stream.catalogue.rules import Rules
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.unit.stream.asking.asked import AskedWorker, ids

LOG = markov_shoppers(sessions=40, items=60, seed=1)
WORDS = {
    f"i{n}": ItemWord(brand=f"b{n % 6}", category="home/mugs" if n % 3 else "garden", available=n % 9 > 0)
    for n in range(60)
}
RULES = """
[never]
brands = ["b5"]
categories = ["home/none"]
[session]
seen = true
[[cap]]
per = "brand"
most = 4
[[boost]]
category = "garden"
up = 6
[[pin]]
item = "i11"
place = 2
[fallback]
items = ["i7"]
[placement.best]
source = "popular"
length = 5
category = "garden"
[placement.best.never]
brands = ["b0"]
[placement.alike]
source = "similar"
"""


@pytest.fixture(scope="module", params=["gru4rec", "fused", "transitions"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    train_small(LOG, Registry(folder), network=request.param, exclude_session_items=True)
    return folder


@pytest.fixture
def asked(registry: Path, tmp_path: Path) -> Iterator[AskedWorker]:
    catalogue = Catalogue()
    catalogue.apply(WORDS.items(), "0-59")
    catalogue.set_rules(Rules.parse(RULES, "v"))
    live = ModelSlot(Settings(registry_dir=registry, wave_size=8, deterministic=True), catalogue)
    live.offer(live.prepare())
    worker = AskedWorker(live, tmp_path / "state")
    yield worker
    worker.store.close()


def tried(worker: AskedWorker, **parameters: str | list[str]) -> dict[str, Any]:
    pairs = [(k, v) for k, vs in parameters.items() for v in (vs if isinstance(vs, list) else [vs])]
    body, _ = worker.answers.tried(TryQuery.read(MultiDict(pairs)))
    return json.loads(body)  # type: ignore[no-any-return]


def stepped_session(worker: AskedWorker) -> str:
    events = list(events_of(LOG.frame))[:80]
    return [one for stepped in worker.waves(events) for one in stepped.lists][-1].session_id


def test_a_tried_list_is_the_served_one_and_without_a_rule_the_one_that_is_served_without_it(
    asked: AskedWorker,
) -> None:
    session, catalogue = stepped_session(asked), asked.live.catalogue
    found, rules = tried(asked, session=session), catalogue.rules
    assert ids(found) == ids(asked.ask(session))
    assert [row["rule"] for row in found["without"]] == [part.name for part in parts_of(rules)]
    changed = set()
    for part, row in zip(parts_of(rules), found["without"], strict=True):
        catalogue.set_rules(part.without)
        served = ids(asked.ask(session))
        before = ids(found)
        assert row["same"] == (served == before), part.name
        assert {one["item_id"] for one in row["more"]} == set(served) - set(before), part.name
        assert {one["item_id"] for one in row["less"]} == set(before) - set(served), part.name
        changed |= set() if row["same"] else {part.name}
    assert {"boost.1", "cap.brand", "pin.2"} & changed
    assert "never.categories.home/none" not in changed


def test_items_that_are_named_are_a_session_of_their_own(asked: AskedWorker) -> None:
    session = stepped_session(asked)
    state = asked.partition.read_state(session)
    assert state is not None
    assert ids(tried(asked, item=state.recent_items)) == ids(tried(asked, session=session))
    unknown = tried(asked, item=["never-seen"])
    assert unknown["fallback"] == "empty_session" and unknown["items"]


def test_why_an_item_is_missing_is_said_of_each_kind(asked: AskedWorker) -> None:
    session = stepped_session(asked)
    state = asked.partition.read_state(session)
    assert state is not None
    seen = next(item for item in state.recent_items if WORDS[item].available)

    def reasons(item: str, **placement: str) -> list[str | None]:
        about = tried(asked, session=session, about=item, **placement)["about"]
        assert (about["place"] is None) == bool(about["reasons"])
        return [reason["rule"] for reason in about["reasons"]]

    assert "never.unavailable" in reasons("i9")
    assert {"never.unavailable", "never.categories.home/none"} & set(reasons("i18")) == {"never.unavailable"}
    assert "never.brands.b5" in reasons("i5")
    assert "session.seen" in reasons(seen)
    assert reasons("never-seen") == [None]
    assert "placement.never.brands.b0" in reasons("i12", placement="best")
    assert "placement.category" in reasons("i1", placement="best")
    listed = ids(tried(asked, session=session))
    assert reasons(listed[3]) == []
    whole = set(listed)
    others = [i for i in WORDS if i not in whole and i not in state.recent_items and WORDS[i].available]
    assert all(reasons(item) for item in others)


def test_a_placement_of_popular_items_is_tried_and_one_of_similar_items_refused(asked: AskedWorker) -> None:
    session = stepped_session(asked)
    found = tried(asked, session=session, placement="best")
    assert ids(found) == ids(asked.ask(session, ("placement", "best"))) and found["fallback"] is None
    with pytest.raises(Refusal, match="similar items are not tried"):
        tried(asked, session=session, placement="alike")
    with pytest.raises(Refusal, match="no placement of this name"):
        tried(asked, session=session, placement="none")


@pytest.mark.parametrize(
    "parameters",
    [{}, {"session": "s", "item": "i"}, {"session": ""}, {"item": ["i"] * 51}, {"session": "s", "k": "5"}],
)
def test_what_cannot_be_tried_is_refused(parameters: dict[str, str | list[str]]) -> None:
    pairs = [(k, v) for k, vs in parameters.items() for v in (vs if isinstance(vs, list) else [vs])]
    with pytest.raises(Refusal):
        TryQuery.read(MultiDict(pairs))
