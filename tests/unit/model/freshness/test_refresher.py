import importlib.util
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from model.config import ModelConfig, Scoring
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.freshness.moving_tables import FreshnessConfig, MovingTables
from model.freshness.recent_events import RecentEvents
from model.freshness.refresher import TableRefresher
from model.networks.by_name import build
from model.networks.fused.fused_list import FusedList
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.stepping import shortlist
from model.stepping.stepper import Stepper

ITEMS = 2_000
TRAINED_MS = 100_000_000
MINUTE_MS = 60_000
BOTH = FreshnessConfig(True, True)


def model_of(embedding: str = "tied", prior: bool = True, seed: int = 1) -> ModelVersion:
    torch.manual_seed(seed)
    vocabulary = Vocabulary([f"i{n}" for n in range(ITEMS)], np.arange(ITEMS, 0, -1))
    config = ModelConfig.model_validate(
        {
            "hidden_size": 16,
            "embedding": embedding,
            "prior_half_lives_s": (600.0, 3600.0) if prior else (),
        }
    )
    network = build(config, vocabulary)
    assert isinstance(network, GradientNetwork)
    torch.nn.init.normal_(network.get_parameter("item_VH"))
    torch.nn.init.normal_(network.get_parameter("bias_V"))
    if network.prior is not None:
        network.prior.counts_KV.uniform_(0, 50)
        network.prior.now_ms.fill_(TRAINED_MS)
    manifest = {"data": {"last_event_time_ms": TRAINED_MS - 1}}
    return ModelVersion("v1", config, vocabulary, network.eval(), manifest=manifest)


class Served:
    """A version whose tables are refreshed."""

    def __init__(
        self,
        freshness: FreshnessConfig = BOTH,
        room: int = 5,
        scoring: Scoring = "exact",
        model: ModelVersion | None = None,
        recent: RecentEvents | None = None,
    ) -> None:
        self.model = model or model_of()
        self.recent = recent or RecentEvents(10_000)
        self.stepper = Stepper(self.model, device="cpu", wave_size=8, scoring=scoring)
        self.refresher = TableRefresher(self.model, self.stepper, freshness, self.recent, room=room)

    def lists(self, items: list[str], exclude: list[str] | None = None) -> list[list[str | None]]:
        vocabulary = self.refresher.vocabulary
        indices = vocabulary.encode(items)
        assert (indices >= 0).all()
        masked = None if exclude is None else np.tile(vocabulary.encode(exclude), (len(items), 1))
        ids, scores, _ = self.stepper.step({"item": indices}, self.stepper.initial_rows(len(items)), masked)
        assert np.isfinite(scores).all()
        shown: list[list[str | None]] = vocabulary.item_ids[ids].tolist()
        return shown


def clicks(
    item: str, times: int, after: str = "i7", at_ms: int = TRAINED_MS + 1_000
) -> list[tuple[int, str, list[str], str]]:
    """Events of an item, each in a session of its own after another item."""
    return [(at_ms + n, item, [after], f"{item}-{at_ms}-{n}") for n in range(times)]


HAS_FAISS = importlib.util.find_spec("faiss") is not None
needs_faiss = pytest.mark.skipif(not HAS_FAISS, reason="faiss-cpu is not installed; it is optional")


@pytest.fixture(params=["exact", "bfloat16", pytest.param("approximate", marks=needs_faiss)])
def scoring(request: pytest.FixtureRequest) -> Scoring:
    chosen: Scoring = request.param
    return chosen


@pytest.mark.parametrize("embedding", ["tied", "separate"])
def test_an_item_born_since_is_listed_and_stepped_on_from_the_refresh_on(
    embedding: str, scoring: Scoring
) -> None:
    served = Served(scoring=scoring, model=model_of(embedding))
    served.recent.add(clicks("new", 30_000))
    assert "new" not in served.refresher.vocabulary.index
    assert served.refresher.refresh(TRAINED_MS + MINUTE_MS)
    row = served.refresher.vocabulary.index["new"]
    network = served.stepper.network
    assert isinstance(network, GradientNetwork)
    for name in (network.input_table, network.output_table):
        table = network.get_parameter(name)
        torch.testing.assert_close(table[row], table[7], rtol=1e-2, atol=1e-2)
    listed = served.lists(["i7", "new"])
    assert all("new" in shown for shown in listed)
    assert all("new" not in shown for shown in served.lists(["i7", "i3"], exclude=["new"]))


def fused_model() -> ModelVersion:
    plain = model_of()
    config = plain.config.model_copy(update={"network": "fused"})
    fused = build(config, plain.vocabulary)
    assert isinstance(fused, FusedList)
    fused.network.load_state_dict(plain.network.state_dict())
    items = np.tile(np.arange(ITEMS), 2)
    offsets = np.arange(0, len(items) + 1, 4)
    times = np.arange(len(items)) * 1_000
    fused.sources.fit(Sessions(offsets, items, times, np.arange(len(offsets) - 1).astype(str)))
    return ModelVersion("v1", config, plain.vocabulary, fused.eval(), manifest=plain.manifest)


def test_a_fused_list_lists_an_item_born_since_and_steps_on_from_it(scoring: Scoring) -> None:
    served = Served(scoring=scoring, model=fused_model())
    assert {"i4", "i5", "i6"} <= set(served.lists(["i7"])[0])
    served.recent.add(clicks("new", 30_000))
    assert served.refresher.refresh(TRAINED_MS + MINUTE_MS)
    assert all("new" in shown for shown in served.lists(["i7", "new"]))
    assert all("new" not in shown for shown in served.lists(["i7", "i3"], exclude=["new"]))
    vocabulary = served.refresher.vocabulary
    ids, scores, _ = served.stepper.step(
        {"item": vocabulary.encode(["new", "i7"])[1:]},
        served.stepper.advance({"item": vocabulary.encode(["new"])}, served.stepper.initial_rows(1)),
    )
    assert np.isfinite(scores).all()
    assert vocabulary.index["new"] in ids[0]


def test_the_lists_are_those_of_the_scores_of_the_moved_tables(
    scoring: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The table grows more than once.
    monkeypatch.setattr(shortlist, "SPARE_ROWS", 50)
    model = model_of()
    assert isinstance(model.network, GradientNetwork)
    assert model.network.prior is not None
    model.network.prior.counts_KV.zero_()
    served = Served(scoring=scoring, room=400, model=model)
    rng = np.random.default_rng(3)
    for minute in range(1, 6):
        rows = [
            (TRAINED_MS + minute * MINUTE_MS, f"n{new}", [f"i{near}"], "")
            for new, near in zip(rng.integers(0, 80 * minute, 300), rng.integers(0, ITEMS, 300), strict=True)
        ]
        served.recent.add(rows)
        assert served.refresher.refresh(TRAINED_MS + (minute + 1) * MINUTE_MS)
    network, stepper = served.stepper.network, served.stepper
    assert isinstance(network, GradientNetwork)
    assert len(network.get_parameter("item_VH")) > ITEMS + 200
    items = np.arange(0, ITEMS, 9)
    ids, scores, _ = stepper.step({"item": items}, stepper.initial_rows(len(items)))
    with torch.inference_mode():
        state = network.initial_state(len(items))
        output_BH, _ = network.advance({"item": torch.from_numpy(items)}, state)
        assert stepper.bias is not None
        expected = network.score(output_BH, stepper.bias.now()).topk(20)
    np.testing.assert_allclose(scores, expected.values, rtol=1e-4)
    assert (ids == expected.indices.numpy()).mean() > 0.99
    assert (ids >= ITEMS).any()
    assert None not in served.refresher.vocabulary.item_ids[ids].ravel().tolist()


def test_one_session_does_not_list_an_item(scoring: Scoring) -> None:
    served = Served(scoring=scoring)
    served.recent.add(clicks("once", 1))
    assert served.refresher.refresh(TRAINED_MS + MINUTE_MS)
    assert "once" not in served.refresher.vocabulary.index
    assert all("once" not in shown for shown in served.lists(["i7"]))


def test_known_items_move_with_their_popularity_only_if_popularity_is_configured() -> None:
    for freshness, moves in ((BOTH, True), (FreshnessConfig(new_items=True), False)):
        served = Served(freshness)
        network = served.stepper.network
        assert isinstance(network, GradientNetwork)
        assert network.prior is not None
        rising = f"i{int(network.prior.counts_KV[0].argmin())}"
        assert rising not in served.lists(["i3"])[0]
        served.recent.add(clicks(rising, 30_000))
        served.refresher.refresh(TRAINED_MS + MINUTE_MS)
        assert (rising in served.lists(["i3"])[0]) == moves


def test_the_bias_moves_by_the_logarithm_of_the_counts_since_the_prior() -> None:
    served = Served()
    network = served.stepper.network
    assert isinstance(network, GradientNetwork)
    assert network.prior is not None
    trained = float((network.get_parameter("bias_V") + network.prior.bias()).detach()[4])
    then = float(network.prior.counts_KV[0, 4]) * 900 / 600
    served.recent.add(clicks("i4", 10, at_ms=TRAINED_MS))
    served.refresher.refresh(TRAINED_MS + MINUTE_MS)
    left = 2 ** (-60 / 900)
    assert served.stepper.bias is not None
    assert float(served.stepper.bias.now()[4]) == pytest.approx(
        trained + math.log((then + 10) * left + 0.1) - math.log(then + 0.1), abs=1e-3
    )


@pytest.mark.parametrize(("prior", "seen_s"), [(False, 100), (True, 3_601), (True, 3_500)])
def test_the_counts_at_the_training_are_those_seen_before_it_or_the_priors(prior: bool, seen_s: int) -> None:
    served = Served(model=model_of(prior=prior))
    network = served.stepper.network
    assert isinstance(network, GradientNetwork)
    trained_V = network.get_parameter("bias_V").detach()
    if network.prior is not None:
        trained_V = trained_V + network.prior.bias().detach()
    served.recent.add(clicks("i4", 200, at_ms=TRAINED_MS - seen_s * 1000))
    served.recent.add(clicks("i4", 1, at_ms=TRAINED_MS - 90_000_000))
    served.refresher.refresh(TRAINED_MS)
    # No time has passed since: popularity is what it was, and the bias the trained one.
    assert served.stepper.bias is not None
    torch.testing.assert_close(served.stepper.bias.now(), trained_V, rtol=1e-4, atol=1e-4)
    served.recent.add(clicks("i3", 100, at_ms=TRAINED_MS))
    served.refresher.refresh(TRAINED_MS + MINUTE_MS)
    then = 0.0
    if seen_s == 3_500:
        assert network.prior is not None
        then = float(network.prior.counts_KV[0, 3]) * 900 / 600
    now = (then + 100) * 2 ** (-60 / 900)
    expected = float(trained_V[3]) + math.log(now + 0.1) - math.log(then + 0.1)
    assert float(served.stepper.bias.now()[3]) == pytest.approx(expected, abs=1e-2)


def test_a_row_that_went_to_another_item_is_not_the_first_ones_any_more() -> None:
    served = Served(room=3)
    for minute, names in ((1, "abc"), (2, "xyz"), (3, "aa")):
        at_ms = TRAINED_MS + minute * MINUTE_MS
        served.recent.add([row for name in names for row in clicks(name, 1, at_ms=at_ms)])
        assert served.refresher.refresh(at_ms + MINUTE_MS)
    assert [name for name in "abcxyz" if name in served.refresher.vocabulary.index] == ["a"]


def test_no_more_items_are_listed_than_there_is_room_for_and_junk_takes_none() -> None:
    served = Served(room=5)
    served.recent.add([row for n in range(40) for row in clicks(f"junk{n}", 1)])
    served.refresher.refresh(TRAINED_MS + MINUTE_MS)
    assert served.refresher.vocabulary.added_items == 0
    for minute in range(2, 12):
        served.recent.add(clicks(f"new{minute}", 3, at_ms=TRAINED_MS + minute * MINUTE_MS))
        assert served.refresher.refresh(TRAINED_MS + (minute + 1) * MINUTE_MS)
    index = served.refresher.vocabulary.index
    assert served.refresher.vocabulary.added_items == 5
    assert [f"new{minute}" in index for minute in range(2, 12)] == [True] * 5 + [False] * 5
    network = served.stepper.network
    assert isinstance(network, GradientNetwork)
    assert len(network.get_parameter("item_VH")) == ITEMS + 5
    for minute in range(2, 7):
        assert served.refresher.vocabulary.item_ids[index[f"new{minute}"]] == f"new{minute}"


def test_a_new_version_begins_with_what_was_seen_since_its_training() -> None:
    served = Served()
    served.recent.add(clicks("early", 5, at_ms=TRAINED_MS + 1_000))
    served.recent.add(clicks("late", 5, at_ms=TRAINED_MS + 200_000))
    served.refresher.refresh(TRAINED_MS + 300_000)
    assert {"early", "late"} <= served.refresher.vocabulary.index.keys()
    newer = model_of(seed=2)
    assert isinstance(newer.network, GradientNetwork)
    assert newer.network.prior is not None
    newer.network.prior.now_ms.fill_(TRAINED_MS + 100_000)
    after = Served(model=newer, recent=served.recent)
    assert after.refresher.refresh(TRAINED_MS + 300_000)
    # It was not trained on `early`, which then was too old for it to know.
    assert "late" in after.refresher.vocabulary.index
    assert "early" not in after.refresher.vocabulary.index


def test_it_is_refreshed_once_so_often_in_event_time() -> None:
    served = Served()
    moments = [TRAINED_MS + s * 1_000 for s in (0, 30, 59, 60, 61, 150, 140, 211)]
    assert [served.refresher.refresh(at) for at in moments] == [True] + [False] * 2 + [True] + [False] + [
        True,
        False,
        True,
    ]
    served.refresher.refresh(TRAINED_MS + 240_000)
    assert served.refresher.age_ms == 29_000


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_steps_of_two_threads_beside_refreshes_are_each_of_one_state_of_the_tables(
    scoring: Scoring, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(scoring=scoring, room=300)
    stepper, items = served.stepper, np.arange(8)
    rows = stepper.initial_rows(8)
    expected: set[bytes] = set()
    set_tables = Stepper.set_tables

    def content(stepped: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bytes:
        return b"".join(part.tobytes() for part in stepped)

    def step_unguarded() -> bytes:
        with torch.inference_mode():
            output_BH, state = stepper.network.advance(
                stepper.inputs({"item": items}), stepper.layout.unpack(rows)
            )
            ids_Bk, scores_Bk, _ = stepper.best(output_BH, stepper.k, None)
        return content((ids_Bk.numpy(), scores_Bk.numpy(), stepper.layout.pack(state, 8)))

    def set_and_note(self: Stepper, *tables: torch.Tensor) -> None:
        set_tables(self, *tables)
        # Nobody else may step here: what a step of this state gives.
        expected.add(step_unguarded())

    expected.add(step_unguarded())
    monkeypatch.setattr(Stepper, "set_tables", set_and_note)

    def step_on() -> list[bytes]:
        seen = []
        while not stop.is_set():
            seen.append(content(stepper.step({"item": items}, rows)))
        return seen

    rng = np.random.default_rng(1)
    with ThreadPoolExecutor(2) as pool:
        threads = [pool.submit(step_on) for _ in range(2)]
        for minute in range(1, 80):
            served.recent.add(
                (TRAINED_MS + minute * MINUTE_MS, f"n{new}", [f"i{near}"], "")
                for new, near in zip(rng.integers(0, 200, 40), rng.integers(0, ITEMS, 40), strict=True)
            )
            assert served.refresher.refresh(TRAINED_MS + (minute + 1) * MINUTE_MS)
        stop.set()
        seen = [lists for thread in threads for lists in thread.result()]
    assert len(expected) == 80
    assert len(set(seen)) > 5
    assert set(seen) <= expected


def test_a_version_that_cannot_be_refreshed_is_refused() -> None:
    model = model_of()
    recent = RecentEvents(1_000)
    stepper = Stepper(model, device="cpu", deterministic=True)
    with pytest.raises(NextclickError, match="deterministic"):
        TableRefresher(model, stepper, BOTH, recent)
    config = ModelConfig(network="transitions")
    counted = ModelVersion("v2", config, model.vocabulary, build(config, model.vocabulary))
    with pytest.raises(NextclickError, match="v2 is a Transitions on cpu"):
        TableRefresher(counted, Stepper(counted, device="cpu"), BOTH, recent)


@pytest.mark.parametrize("trait", ["has_own_loss", "scores_by_direction"])
def test_a_network_whose_scores_are_no_logarithms_is_refused(
    monkeypatch: pytest.MonkeyPatch, trait: str
) -> None:
    model = model_of()
    monkeypatch.setattr(type(model.network), trait, True)
    with pytest.raises(NextclickError, match="no logarithms"):
        TableRefresher(model, Stepper(model, device="cpu"), BOTH, RecentEvents(1_000))


def test_rows_that_were_forgotten_hold_nothing() -> None:
    network = model_of().network
    assert isinstance(network, GradientNetwork)
    tables = MovingTables(network, ITEMS, ITEMS + 2, TRAINED_MS, BOTH)
    new = np.array([ITEMS, ITEMS])
    tables.add_events(new, np.full(2, TRAINED_MS))
    tables.add_events_since_training(new)
    assert tables.place_new_items(new, np.array([3, 4])).tolist() == [ITEMS]
    assert tables.can_step_V[ITEMS]
    tables.free_rows(np.array([ITEMS]))
    tables.place_new_items(np.zeros(0, np.int64), np.zeros(0, np.int64))
    tables.recompute_bias()
    assert not tables.can_step_V[ITEMS]
    assert not tables.output_VH[ITEMS].any()
    assert tables.bias_V[ITEMS] == -math.inf


def test_whoever_listens_hears_of_each_new_item_before_it_can_be_listed() -> None:
    served = Served()
    vocabulary = served.refresher.vocabulary

    def unlist(index: int, item_id: str) -> None:
        if item_id == "sold-out":
            served.stepper.unlisted.mark(np.array([index]), np.array([True]))

    vocabulary.on_added = unlist
    served.recent.add(clicks("sold-out", 30_000) + clicks("new", 30_000))
    assert served.refresher.refresh(TRAINED_MS + MINUTE_MS)
    assert {"sold-out", "new"} <= vocabulary.index.keys()
    lists = served.lists(["i7", "new", "sold-out"])
    assert all("sold-out" not in shown for shown in lists) and any("new" in shown for shown in lists)
