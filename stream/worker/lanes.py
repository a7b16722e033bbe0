"""How waves are filled: how long an idle lane waits for more events, and how many lanes are open.

A wave reads the whole table of items, for two events as for sixty. So where events come densely an
idle lane waits for some more, and where one lane's waves have room for all that comes the others
stay closed. Where events are rare nothing waits; on a backlog all lanes are open and waves are full.
"""

from __future__ import annotations

import zlib

from stream.wave.waves import Arrival, Wave, WaveCutter

REVIEW_S = 0.2
# Where fewer events are to be expected within the longest wait, it costs more delay than it saves.
WORTH_WAITING = 4
# Of a wave's size: what a lane that is alone is filled to, or has waiting, when the others are opened; and
# what the waves of all of them hold together, at so many reviews, before one is to take them all.
NEARLY_FULL = 0.75
MANY_WAVES = 4
ROOMY = 0.5
CALM_REVIEWS = 25


class LaneController:
    """Counts what is read and cut, and decides anew every REVIEW_S.

    `wait_s` is how long an idle lane waits now for its wave to fill, `lanes` how many should be open.
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
        """Events that were read."""
        self._read += events

    def count_wave(self, events: int) -> None:
        """A wave that was cut."""
        self._waves += 1
        self._events += events

    def review(self, now_s: float, waiting: int) -> None:
        """Decide by what was counted since the last time, if that is long enough ago.

        `waiting` events are read and in no wave: because waves are under way, or because their
        sessions have others before them.
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
            behind = events >= NEARLY_FULL * self._wave_size or waiting >= MANY_WAVES * self._wave_size
            self.lanes = self._most_lanes if behind else 1
            self._calm_reviews = 0
        else:
            calm = max(events * self.lanes, waiting) <= ROOMY * self._wave_size
            self._calm_reviews = self._calm_reviews + 1 if calm else 0
            self.lanes = 1 if self._calm_reviews >= CALM_REVIEWS else self.lanes
        self._reviewed_s = now_s
        self._read = self._waves = self._events = 0


class Lanes:
    """Cutters side by side: each has sessions of its own, and they wait for no other's.

    The first `open` of them take arrivals. Whoever changes that has seen to it that nothing waits and
    every wave cut is stepped: a session's next event may then come to another lane.
    """

    def __init__(self, count: int, wave_size: int) -> None:
        self.open = count
        self._wave_size = wave_size
        self._cutters = [WaveCutter(wave_size) for _ in range(count)]

    def __len__(self) -> int:
        return sum(len(cutter) for cutter in self._cutters)

    def add(self, arrival: Arrival) -> None:
        """Queue an arrival in its session's lane; the rejected of a partition stay in order."""
        event = arrival.event
        # The upper half: by the lower one a producer may have chosen the partition.
        place = arrival.partition if event is None else zlib.crc32(event.session_id.encode()) >> 16
        self._cutters[place % self.open].add(arrival)

    def occupied(self) -> list[int]:
        """The lanes in which arrivals wait."""
        return [lane for lane, cutter in enumerate(self._cutters) if len(cutter)]

    def cut(self, lane: int, most: int) -> list[Wave]:
        """A wave of what waits in a lane, and more of them, `most` in all, while they are full."""
        cutter = self._cutters[lane]
        waves: list[Wave] = []
        while len(waves) < most and (not waves or len(cutter) >= self._wave_size):
            wave = cutter.cut()
            if wave is None:
                break
            wave.lane = lane
            waves.append(wave)
        return waves
