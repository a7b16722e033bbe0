import threading

import numpy as np
import pytest

from model.errors import NextclickError
from replay.end_to_end.worker_process import free_port
from stream.events import Event
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.stepped_wave import RecommendedList, SteppedWave
from stream.wave.waves import Arrival
from stream.worker import sink as sinks
from stream.worker.sink import Sink, lists_config


def wave_of_one_list() -> SteppedWave:
    wave, event = SteppedWave(0, 0, 1, 0), Event("s", 5, "i")
    arrival = Arrival(0, 0, event, NO_WATERMARK, 0)
    wave.lists.append(RecommendedList(arrival, "s", 5, "v", ["j"], np.ones(1, np.float32), 1, ""))
    return wave


def test_lists_wait_for_a_broker_however_long_it_is_away() -> None:
    assert lists_config(Settings())["message.timeout.ms"] == 0


def test_a_worker_that_is_to_stop_in_an_outage_ends_by_an_error_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sinks, "STOP_S", 0.1)
    failures: list[BaseException] = []
    failed = threading.Event()
    durable: list[SteppedWave] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    sink = Sink(
        # Where no broker is.
        Settings(bootstrap_servers=f"127.0.0.1:{free_port()}"),
        commit=lambda _: pytest.fail("committed"),
        on_durable=durable.append,
        on_failure=fail,
    )
    sink.start()
    sink.submit(wave_of_one_list())
    sink.will_stop()
    assert failed.wait(120)
    assert isinstance(failures[0], NextclickError)
    assert "1 waves of lists" in failures[0].what
    assert "the worker is to stop" in failures[0].what
    assert not durable


def test_a_worker_without_lists_under_way_stops_in_an_outage_without_an_error() -> None:
    sink = Sink(
        Settings(bootstrap_servers=f"127.0.0.1:{free_port()}"),
        commit=lambda _: pytest.fail("committed"),
        on_durable=lambda _: pytest.fail("durable"),
        on_failure=lambda error: pytest.fail(str(error)),
    )
    sink.start()
    sink.will_stop()
    sink.stop()
