import numpy as np

from stream.events import Event
from stream.sessions.watermark import NO_WATERMARK
from stream.wave.stepped_wave import RecommendedList, SteppedWave
from stream.wave.waves import Arrival
from stream.web.recent_lists import KEPT_LISTS, RecentLists

MS = 1_000_000


def stepped(offset: int, received_ns: int, lists: int = 1) -> SteppedWave:
    wave = SteppedWave(offset, received_ns, lists, 0)
    for number in range(lists):
        event = Event(f"s{offset + number}", 5, f"i{offset + number}")
        arrival = Arrival(0, offset + number, event, NO_WATERMARK, received_ns + number * MS)
        wave.lists.append(
            RecommendedList(arrival, event.session_id, 5, "v", ["i1"], np.ones(1, np.float32), 1, "")
        )
    return wave


def test_few_lists_a_second_are_kept_however_many_come() -> None:
    now = [0]
    newest = RecentLists(lambda: now[0])
    for number in range(1000):
        now[0] = number * MS
        newest.add(stepped(number, now[0]))
    assert [found.item_id for found in newest.lists] == ["i0", "i250", "i500", "i750"]
    for number in range(1000, 10_000):
        now[0] = number * MS
        newest.add(stepped(number, now[0]))
    assert len(newest.lists) == KEPT_LISTS
    assert newest.lists[-1].item_id == "i9750"


def test_a_waves_delay_is_that_of_its_oldest_event_and_is_taken_once() -> None:
    newest = RecentLists(lambda: 12 * MS)
    newest.add(stepped(0, 2 * MS, lists=3))
    newest.add(stepped(9, 7 * MS, lists=1))
    newest.add(SteppedWave(3, 0, 1, 0))
    assert newest.pop_delays_ms() == [10.0, 5.0]
    assert newest.pop_delays_ms() == []
    assert newest.lists[0].delay_ms == 8.0
