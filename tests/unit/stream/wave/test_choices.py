"""What a visitor has bought or dismissed is left out of the session's lists; nothing is learned from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from model.config import LIST_LENGTH
from model.data.session_rule import SessionRule
from model.registry.registry import Registry
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.purchases import encode_purchase
from stream.catalogue.rules import Rules
from stream.events import DISMISS, Event, Kind
from stream.sessions.history_replay import HistoryReplay
from stream.sessions.partition import BUCKET_OFFSETS, OpenPartition
from stream.sessions.session_state import MOST_CHOICES, Choice, new_state, pack_state, unpack_state
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.load_shedding import FULL, NEWEST_ONLY, POPULAR
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot
from stream.wave.stepped_wave import RecommendedList, SteppedWave
from stream.wave.waves import Arrival, WaveCutter
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.unit.stream.wave.test_processor import step_wave

LOG = markov_shoppers(sessions=40, items=60, seed=1)
START_MS = 1_700_000_000_000
NETWORKS = ("gru4rec", "transitions")


@pytest.fixture(scope="module", params=NETWORKS)
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    train_small(
        LOG, Registry(folder), network=request.param, exclude_session_items=request.param == "gru4rec"
    )
    return folder


class Visitor:
    """Sends events of one session to a partition, a wave each; `states` are its own."""

    def __init__(self, live: ModelSlot, store: SessionStore) -> None:
        self.live = live
        self.processor = Processor(live, recent_items=50)
        self.processor.partitions[0] = self.partition = OpenPartition(0, store)
        self._next = 0

    def step(
        self,
        item: str,
        kind: Kind = "view",
        *,
        session: str = "s",
        user: str | None = None,
        at_s: int = 0,
        level: int = FULL,
    ) -> tuple[RecommendedList, SteppedWave]:
        offset, self._next = self._next, self._next + 1
        event = Event(session, START_MS + 1_000 * (at_s or offset), item, kind, user)
        arrival = Arrival(0, offset, event, NO_WATERMARK, 0)
        self.partition.pending.add(offset, NO_WATERMARK, NO_WATERMARK)
        cutter = WaveCutter(8)
        cutter.add(arrival)
        wave = cutter.cut()
        assert wave is not None
        wave.level = level
        stepped = step_wave(self.processor, wave)
        assert sum(stepped.outcomes[0].values()) == 1
        return stepped.lists[0], stepped


@contextmanager
def visitor(registry: Path, folder: Path, rules: str = "") -> Iterator[Visitor]:
    catalogue = Catalogue()
    catalogue.purchases.is_kept = True
    if rules:
        catalogue.set_rules(Rules.parse(rules, "v"))
    live = ModelSlot(Settings(registry_dir=registry, wave_size=8), catalogue)
    live.offer(live.prepare())
    store = SessionStore(folder / "store")
    yield Visitor(live, store)
    store.close()


def test_a_dismissed_item_is_in_no_list_of_its_session_from_the_dismissal_on(
    registry: Path, tmp_path: Path
) -> None:
    with visitor(registry, tmp_path) as one:
        before, _ = one.step("i1")
        (state,) = one.partition.load(["s"])
        assert state is not None
        hidden, position = state.hidden, state.position
        for count, dismissed in enumerate(before.items[:3], 1):
            shown, stepped = one.step(dismissed, DISMISS)
            assert not set(before.items[:count]) & set(shown.items)
            assert (shown.fallback, len(shown.items)) == (DISMISS, LIST_LENGTH)
            assert stepped.outcomes[0]["left_out"] == 1 and stepped.left_out == {DISMISS: 1}
            assert not stepped.observed, "a dismissal is no click that a list is scored by"
        left = [item for item in shown.items if item in before.items]
        assert left == before.items[3:], "the rest keeps its order"
        (state,) = one.partition.load(["s"])
        assert state is not None
        assert (state.hidden, state.position) == (hidden, position)
        gone = set(before.items[:3])
        for level, item in (
            (FULL, "i2"),
            (FULL, "never-seen"),
            (NEWEST_ONLY, "i3"),
            (POPULAR, "i1"),
            (FULL, "i1"),
        ):
            shown, _ = one.step(item, level=level)
            assert not gone & set(shown.items), (level, item)
        other, _ = one.step("i1", session="another")
        assert other.items == before.items
        later, _ = one.step("i1", at_s=1_000_000)
        assert later.items == before.items, "a session that begins anew has dismissed nothing"


def test_what_a_session_bought_is_left_out_where_a_rule_says_so(registry: Path, tmp_path: Path) -> None:
    with visitor(registry, tmp_path, "[session]\nseen = false\nbought = true\ndismissed = false") as one:
        first, _ = one.step("i1")
        bought = first.items[0]
        shown, stepped = one.step(bought, "purchase")
        assert bought not in shown.items and len(shown.items) == LIST_LENGTH
        assert stepped.outcomes[0]["stepped"] == 1 and shown.fallback == ""
        assert stepped.observed[0].champion_rank == 1, "the list before it was right"
        for item in ("i1", "never-seen", "i1"):
            assert bought not in one.step(item)[0].items
        dismissed = shown.items[1]
        one.step(dismissed, DISMISS)
        one.live.catalogue.set_rules(Rules.parse("[session]\nseen = false", "w"))
        assert bought in one.step("i1")[0].items
        assert dismissed not in one.step("i1")[0].items, "dismissals are obeyed where no rule says otherwise"


DAY_S = 86_400
BOUGHT = "[session]\nseen = false\nbought_days = 2"


def test_what_a_user_bought_is_left_out_of_the_users_other_sessions_for_as_many_days_of_event_time(
    registry: Path, tmp_path: Path
) -> None:
    with visitor(registry, tmp_path, BOUGHT) as one:
        plain, _ = one.step("i1", session="somebody")
        bought = plain.items[0]
        shown, stepped = one.step(bought, "purchase", user="ann", at_s=1)
        assert bought not in shown.items, "in its own session at once"
        one.live.catalogue.purchases.apply(stepped.purchases)
        for session, at_s in (("second", 10), ("third", 2 * DAY_S)):
            for level, item in ((FULL, "i1"), (FULL, "never-seen"), (POPULAR, "i1"), (FULL, "i1")):
                shown, _ = one.step(item, session=session, user="ann", level=level, at_s=at_s)
                assert bought not in shown.items and len(shown.items) == LIST_LENGTH, (session, level, item)
            later, _ = one.step("i1", session=session, at_s=at_s)
            assert bought not in later.items, "a session keeps its user"
            other, _ = one.step("i1", session=f"bob-{session}", user="bob", at_s=at_s)
            assert other.items == plain.items
        long_ago, _ = one.step("i1", session="fourth", user="ann", at_s=2 * DAY_S + 2)
        assert long_ago.items == plain.items, "two days and a second are more than two days"
        one.live.catalogue.set_rules(Rules.parse("[session]\nseen = false", "w"))
        again, _ = one.step("i1", session="fifth", user="ann", at_s=10)
        assert again.items == plain.items


def test_purchases_are_sent_with_the_newest_user_of_the_session_and_only_where_they_are_kept(
    registry: Path, tmp_path: Path
) -> None:
    with visitor(registry, tmp_path) as one:
        _, nobodys = one.step("i1", "purchase")
        one.step("i1", user="ann", at_s=5)
        _, anns = one.step("never-seen", "purchase", at_s=7)
        _, viewed = one.step("i2")
        assert (nobodys.purchases, viewed.purchases) == ([], [])
        assert anns.purchases == [encode_purchase("ann", "never-seen", START_MS + 7_000)]
        one.live.catalogue.purchases.is_kept = False
        assert one.step("i3", "purchase")[1].purchases == []


def test_a_session_of_before_is_read_without_a_user_and_a_recovered_one_with_its_newest() -> None:
    old = msgspec.msgpack.encode(("v", 5, 1, ["i"], [0], {}, b"", [], b""))
    assert unpack_state(old).user_id == ""
    state = new_state()
    for offset, user in enumerate(("ann", None, "bob", None)):
        state.remember(Event("s", START_MS, "i", user_id=user), offset, (), 50)
    assert unpack_state(pack_state(state)).user_id == "bob"


def test_a_session_that_begins_with_a_dismissal_gets_the_popular_items_without_it(
    registry: Path, tmp_path: Path
) -> None:
    with visitor(registry, tmp_path) as one:
        popular = one.live.current.popular_list([])[0]
        shown, _ = one.step(popular[0], DISMISS)
        assert shown.items[:19] == popular[1:] and popular[0] not in shown.items
        assert popular[0] not in one.step("i7")[0].items


def test_choices_are_recovered_from_the_log_though_they_are_older_than_the_history(tmp_path: Path) -> None:
    rule, limit = SessionRule(1_800.0), 5
    kinds: list[Kind] = ["view", "purchase", "dismiss", *["view"] * 30]  # type: ignore[list-item]
    first = 3 * BUCKET_OFFSETS - 2
    log = [(first + n, Event("s", START_MS + n, f"i{n}", kind)) for n, kind in enumerate(kinds)]
    partition = OpenPartition(0, SessionStore(tmp_path / "whole"))
    replay = HistoryReplay(partition, rule, (), limit)
    replay.add(log, log[-1][0] + 1)
    replay.write(log[-1][0] + 1)
    (before,) = partition.load(["s"])
    assert before is not None
    assert before.choices == [Choice("purchase", "i1", first + 1), Choice("dismiss", "i2", first + 2)]
    assert before.recent_offsets[0] > first + 20
    recover_from = partition.durable.recover_from
    assert recover_from <= first + 1, "recovery begins where the oldest choice is"
    partition.store.close()

    anew = OpenPartition(0, SessionStore(tmp_path / "anew"))
    replay = HistoryReplay(anew, rule, (), limit)
    replay.add([(offset, event) for offset, event in log if offset >= recover_from], log[-1][0] + 1)
    replay.write(log[-1][0] + 1)
    (after,) = anew.load(["s"])
    assert after is not None
    assert (after.choices, after.recent_items) == (before.choices, before.recent_items)
    anew.store.close()


def test_the_newest_choices_are_kept_each_once(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "p0")
    partition = OpenPartition(0, store)
    replay = HistoryReplay(partition, SessionRule(1_800.0), (), 50)
    items = [*range(MOST_CHOICES + 10), 20]
    replay.add([(n, Event("s", START_MS + n, f"i{i}", DISMISS)) for n, i in enumerate(items)], len(items))
    replay.write(len(items))
    (state,) = partition.load(["s"])
    assert state is not None
    assert state.chosen({DISMISS}) == [f"i{i}" for i in range(10, MOST_CHOICES + 10) if i != 20] + ["i20"]
    assert (state.position, state.recent_items) == (0, [])
    store.close()


def test_a_session_that_is_forgotten_leaves_an_empty_list_and_begins_anew(
    registry: Path, tmp_path: Path
) -> None:
    with visitor(registry, tmp_path) as one:
        first, _ = one.step("i1")
        one.step(first.items[0], DISMISS)
        shown, stepped = one.step("", "forget")
        assert (shown.items, shown.scores.tolist(), shown.fallback) == ([], [], "forget")
        assert stepped.outcomes[0]["ended"] == 1 and not stepped.observed
        assert one.partition.load(["s"]) == [None] and one.partition.sessions == 0
        again, _ = one.step("i1")
        assert (again.items, again.position) == (first.items, 1), "not even the dismissal is known"
        unknown, _ = one.step("", "forget", session="never-heard-of")
        assert unknown.items == [] and one.partition.sessions == 1
