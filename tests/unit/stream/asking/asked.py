"""A worker without threads and brokers whose sessions are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from multidict import MultiDict

from replay.sending.encoding import events_of
from stream.asking.answers import Answers
from stream.asking.published import PublishedPlacements
from stream.asking.query import ListQuery, RankQuery, SimilarQuery
from stream.events import Event
from stream.sessions.partition import OpenPartition
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot
from stream.wave.stepped_wave import SteppedWave
from stream.wave.waves import Arrival, WaveCutter
from stream.worker.pipeline import Pipeline
from tests.harness.markov_shoppers import SyntheticLog
from tests.unit.stream.wave.test_processor import step_wave


class AskedWorker:
    """Steps events wave by wave over one partition, and answers as a worker does between them."""

    def __init__(self, live: ModelSlot, folder: Path, placements: PublishedPlacements | None = None) -> None:
        self.live = live
        self.store = SessionStore(folder)
        placements = placements or PublishedPlacements(live.catalogue, 50)
        self.processor = Processor(live, recent_items=50, placements=placements)
        self.processor.partitions[0] = self.partition = OpenPartition(0, self.store)
        self.pipeline = cast(
            Pipeline,
            SimpleNamespace(live=live, partitions=1, recovering={}, read_state=self._read_state),
        )
        self.answers = Answers(self.pipeline)

    def _read_state(self, number: int, session_id: str) -> tuple[Any, int] | None:
        partition = self.processor.partitions.get(number)
        return None if partition is None else (partition.read_state(session_id), partition.watermark.ms)

    def waves(self, events: list[Event]) -> Iterator[SteppedWave]:
        """Each wave after it was written; a wave has at most 8 events."""
        cutter, watermark = WaveCutter(8), NO_WATERMARK
        for offset, event in enumerate(events):
            arrival = Arrival(0, offset, event, watermark, 0)
            watermark = watermark.after(event.session_id, event.event_time_ms)
            cutter.add(arrival)
            self.partition.pending.add(offset, arrival.watermark, watermark)
            if len(cutter) >= 8 and (wave := cutter.cut()) is not None:
                yield step_wave(self.processor, wave)
        while (wave := cutter.cut()) is not None:
            yield step_wave(self.processor, wave)

    def step(self, offset: int, event: Event) -> SteppedWave:
        """One more event, in a wave of its own."""
        self.partition.pending.add(offset, NO_WATERMARK, NO_WATERMARK)
        cutter = WaveCutter(8)
        cutter.add(Arrival(0, offset, event, NO_WATERMARK, 0))
        wave = cutter.cut()
        assert wave is not None
        return step_wave(self.processor, wave)

    def ask(self, session_id: str, *parameters: tuple[str, str]) -> dict[str, Any]:
        """The answer to GET /api/recommendations/{session_id}?…"""
        body, _ = self.answers.list_of(ListQuery.read(session_id, MultiDict(parameters)))
        return cast("dict[str, Any]", json.loads(body))

    def rank(self, session_id: str, candidates: list[str]) -> dict[str, Any]:
        """The answer to POST /api/rank."""
        query = RankQuery.read(json.dumps({"session": session_id, "candidates": candidates}).encode())
        return cast("dict[str, Any]", json.loads(self.answers.ranked(query)[0]))

    def similar(self, item_id: str, *parameters: tuple[str, str]) -> dict[str, Any]:
        """The answer to GET /api/similar/{item_id}?…"""
        query = SimilarQuery.read(item_id, MultiDict(parameters))
        return cast("dict[str, Any]", json.loads(self.answers.similar(query)[0]))


def events_with_unknown_items(log: SyntheticLog, most: int) -> list[Event]:
    """The first events of a log; every fifth is of an item that no version knows."""
    frame = log.frame.copy()
    frame.loc[frame.index % 5 == 3, "item_id"] = "never-seen"
    return list(events_of(frame))[:most]


def ids(body: dict[str, Any]) -> list[str]:
    """The items of an answer."""
    return [row["item_id"] for row in body["items"]]
