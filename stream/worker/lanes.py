"""Lanes: sessions spread over the step threads, and step 2 of a wave, the cut.

A wave reads the whole table of items, whether it holds two events or sixty. So where events are
dense, an idle lane waits a little for more of them, and where one lane's waves have room for all
events, the other lanes stay closed. Where events are rare nothing waits; on a backlog all lanes are
open and waves are full.
"""

from __future__ import annotations

import zlib

from stream.failpoints import reach
from stream.settings import Settings
from stream.wave.load_shedding import FULL
from stream.wave.waves import Arrival, Wave, WaveCutter
from stream.worker.wave_consumer import MOST_QUEUED_WAVES, WaveConsumer

REVIEW_S = 0.2
# Events expected within the longest wait: with fewer, the wait costs more delay than it saves.
WORTH_WAITING = 4
OPEN_LANES_AT_FILL = 0.75  # of wave_size: above it one lane cannot keep up
OPEN_LANES_AT_BACKLOG_WAVES = 4  # waves waiting: the same, when sessions queue behind themselves
CLOSE_LANES_BELOW_FILL = 0.5  # of wave_size, all lanes together: one lane holds it all
CLOSE_LANES_AFTER_REVIEWS = 25  # 5 s; sooner, and lanes would open and close with every burst
# Waves handed over together on a backlog: fewer changes of threads for each.
WAVES_AT_ONCE = 4
IDLE_POLL_S = 0.05


class LaneController:
    """Decides every REVIEW_S how many lanes are open, by counting what is read and cut.

    `lanes` is how many should be open; `wait_s` is how long an idle lane waits for its wave to fill.

    >>> controller = LaneController(lanes=2, wave_size=64, longest_wait_s=0.005)
    >>> controller.review(now_s=0.0, waiting=0)
    >>> controller.count_read(1_000)
    >>> controller.review(now_s=1.0, waiting=0)
    >>> controller.wait_s
    0.005
    """

    def __init__(self, lanes: int, wave_size: int, longest_wait_s: float) -> None:
        self.wait_s = 0.0
        self.lanes = lanes
        self._most_lanes = lanes
        self._wave_size = wave_size
        self._longest_wait_s = longest_wait_s
        self._reviewed_s: float | None = None
        self._read = self._waves = self._events = 0
        self._calm_reviews = 0

    def count_read(self, events: int) -> None:
        """Count events that were read."""
        self._read += events

    def count_wave(self, events: int) -> None:
        """Count a wave that was cut."""
        self._waves += 1
        self._events += events

    def review(self, now_s: float, waiting: int) -> None:
        """Decide anew if REVIEW_S have passed since the last review.

        `waiting` events are read and in no wave: because waves are under way, or because earlier
        events of their sessions are waiting.
        """
        if self._reviewed_s is None:
            self._reviewed_s = now_s
        passed_s = now_s - self._reviewed_s
        if passed_s < REVIEW_S:
            return
        expected = self._read / passed_s * self._longest_wait_s
        self.wait_s = self._longest_wait_s if expected >= WORTH_WAITING else 0.0
        events = self._events / max(1, self._waves)
        if self.lanes == 1:
            overloaded = (
                events >= OPEN_LANES_AT_FILL * self._wave_size
                or waiting >= OPEN_LANES_AT_BACKLOG_WAVES * self._wave_size
            )
            self.lanes = self._most_lanes if overloaded else 1
            self._calm_reviews = 0
        else:
            calm = max(events * self.lanes, waiting) <= CLOSE_LANES_BELOW_FILL * self._wave_size
            self._calm_reviews = self._calm_reviews + 1 if calm else 0
            self.lanes = 1 if self._calm_reviews >= CLOSE_LANES_AFTER_REVIEWS else self.lanes
        self._reviewed_s = now_s
        self._read = self._waves = self._events = 0


class Lanes:
    """One cutter for each lane; a session's events are all in the same one.

    The first `open` lanes receive arrivals. Change `open` only while nothing waits and every wave
    that was cut is stepped: a session's next event may then go to another lane.

    >>> from stream.events import Event
    >>> from stream.sessions.watermark import NO_WATERMARK
    >>> lanes = Lanes(count=2, wave_size=64)
    >>> lanes.add(Arrival(0, 0, Event("s1", 1_000, "i"), NO_WATERMARK, 0))
    >>> [len(lanes.cut(lane, most=4)) for lane in lanes.occupied()], len(lanes)
    ([1], 0)
    """

    def __init__(self, count: int, wave_size: int) -> None:
        self.open = count
        self._wave_size = wave_size
        self._cutters = [WaveCutter(wave_size) for _ in range(count)]

    def __len__(self) -> int:
        return sum(len(cutter) for cutter in self._cutters)

    def add(self, arrival: Arrival) -> None:
        """Queue an arrival in its session's lane; a partition's rejected records stay in order."""
        event = arrival.event
        # The upper half: a producer may have chosen the partition by the lower one.
        key = arrival.partition if event is None else zlib.crc32(event.session_id.encode()) >> 16
        self._cutters[key % self.open].add(arrival)

    def occupied(self) -> list[int]:
        """The lanes in which arrivals wait."""
        return [lane for lane, cutter in enumerate(self._cutters) if len(cutter)]

    def cut(self, lane: int, most: int) -> list[Wave]:
        """Cut a wave from a lane, and more of them, `most` in all, while they are full."""
        cutter = self._cutters[lane]
        waves: list[Wave] = []
        while len(waves) < most and (not waves or len(cutter) >= self._wave_size):
            wave = cutter.cut()
            if wave is None:
                break
            wave.lane = lane
            waves.append(wave)
        return waves


class WaveEmitter:
    """Cuts waves from the lanes that have room, and hands them to the pipeline.

    Used by the source's thread alone. `level` is the load-shedding level of the waves to come.
    """

    def __init__(self, settings: Settings, pipeline: WaveConsumer) -> None:
        self.level = FULL
        self.lanes = Lanes(settings.step_threads, settings.wave_size)
        self.controller = LaneController(
            settings.step_threads, settings.wave_size, settings.wave_wait_ms / 1000
        )
        self._pipeline = pipeline

    def fit_lanes(self, now_s: float) -> None:
        """Open or close lanes as the controller decides, once no session has an event under way."""
        self.controller.review(now_s, len(self.lanes))
        if self.controller.lanes != self.lanes.open:
            self.finish()
            self.lanes.open = self.controller.lanes

    def ready(self) -> list[int]:
        """The lanes in which arrivals wait and that have room for a wave."""
        queued = self._pipeline.queued()
        return [lane for lane in self.lanes.occupied() if queued[lane] <= MOST_QUEUED_WAVES]

    def are_all_busy(self) -> bool:
        """Whether every open lane has waves to step."""
        return all(self._pipeline.queued()[: self.lanes.open])

    def wait_for_room(self) -> None:
        """Wait, at most IDLE_POLL_S, until a lane in which arrivals wait has room."""
        self._pipeline.wait_for_room(self.lanes.occupied(), IDLE_POLL_S)

    def emit(self) -> None:
        """2. wave: cut one for each ready lane, and up to WAVES_AT_ONCE while they are full.

        The arrivals of the other lanes wait here, so that no lane holds up reading for another.
        """
        for lane in self.ready():
            waves = self.lanes.cut(lane, WAVES_AT_ONCE)
            for wave in waves:
                wave.level = self.level
                self.controller.count_wave(len(wave.arrivals))
                reach("2-cut")
            self._pipeline.emit(waves)

    def finish(self) -> None:
        """Have every arrival stepped and written."""
        while len(self.lanes):
            self.wait_for_room()
            self.emit()
        self._pipeline.wait_until_durable()
