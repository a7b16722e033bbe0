import asyncio
import threading
from collections.abc import Callable

import faust
import pytest

from stream.faust_app import WaveChannel
from stream.wave.waves import Wave
from stream.worker.pipeline import Pipeline


def test_waves_on_their_channel_survive_a_rebalance_of_fausts_own_group() -> None:
    async def run() -> list[int]:
        app = faust.App("nextclick-test", broker="kafka://127.0.0.1:9", autodiscover=False)
        channel = WaveChannel(app, maxsize=4)
        stream = channel.clone(is_iterator=True)
        for number in range(3):
            await channel.put(number)  # type: ignore[arg-type]
        # What Faust does when its group takes partitions away and gives them back.
        app.flow_control.suspend()
        app.flow_control.clear()
        app.flow_control.resume()
        return [await stream.queue.get() for _ in range(stream.queue.qsize())]

    assert asyncio.run(run()) == [0, 1, 2]


def test_a_wave_that_was_lost_on_its_way_stops_the_pipeline_before_the_next_is_stepped() -> None:
    pipeline = Pipeline.__new__(Pipeline)
    pipeline._next = [5, 1]
    with pytest.raises(RuntimeError, match="wave 2 came where 1 was due"):
        pipeline.step([Wave([], lane=1, number=2)])


def test_room_in_one_lane_is_no_room_for_what_waits_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else reading would turn and turn while one busy session waits, and hold the step threads up."""
    pipeline = Pipeline.__new__(Pipeline)
    pipeline._emitted, pipeline._next = [7, 9], [7, 4]
    seen: list[bool] = []

    def wait_for(has_room: Callable[[], bool], timeout_s: float) -> None:
        seen.append(has_room())
        pipeline._next[1] += 4
        seen.append(has_room())

    pipeline._changed = threading.Condition()
    monkeypatch.setattr(pipeline._changed, "wait_for", wait_for)
    pipeline.wait_for_room([1], 0.05)
    assert seen == [False, True]
