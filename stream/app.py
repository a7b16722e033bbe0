"""Composes one worker: pipeline, Faust app, web, and every Prometheus series.

librdkafka carries events and lists; Faust has a channel of waves, whose agent passes each wave to the
step thread of its lane, so that heartbeats and web views never wait for the model. The `models` agent
passes announcements to the model switch; of a topic made anew, models_topic_watch does. A failure anywhere
ends the process: the restart recovers.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from confluent_kafka import Message
from faust.worker import Worker as FaustWorker
from prometheus_client import CollectorRegistry, ProcessCollector

from model.errors import NextclickError
from model.registry.registry import Registry
from stream.asking.metrics import AskingMetrics
from stream.asking.published import PublishedPlacements
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.metrics import CatalogueMetrics
from stream.catalogue.sources import CatalogueSources
from stream.event_decoder import EventDecoder
from stream.faust_app import WaveChannel, make_faust_app
from stream.ingest.decoders import decoder_of
from stream.kafka.announcements import EXPERIMENT_KEY, SHADOW_KEY, kept_values
from stream.kafka.group_members import check_group
from stream.kafka.topic_id import topic_id
from stream.kafka.topics import ensure_topics
from stream.logs import escaped, happening, log_failure, tells_json
from stream.processes.metrics import ProcessMetrics
from stream.processes.siblings import Siblings
from stream.quality.metrics import QualityCollector
from stream.quality.prequential import Prequential
from stream.settings import Settings
from stream.wave.first_version import prepare_first
from stream.wave.metrics import ExperimentMetrics, FreshnessMetrics, ShadowMetrics
from stream.wave.serving_model import ModelSlot
from stream.web.guard import WebGuard
from stream.web.recent_lists import RecentLists
from stream.web.routes import add_routes
from stream.web.server import GuardedWeb
from stream.web.status import StatusViews
from stream.worker.counters import WorkerCounters
from stream.worker.gauges import WorkerGauges
from stream.worker.model_switch import ModelSwitch
from stream.worker.models_topic_watch import ModelsTopicWatch
from stream.worker.pipeline import Pipeline
from stream.worker.quick_crashes import forget_crashes, note_crash, stay_out_after_crashes

EXIT_FAILURE = 1
CHANNEL_WAVES = 2
CLOCK_SLACK_S = 60.0
GIL_SWITCH_S = 0.0005
logger = logging.getLogger(__name__)


def crash(error: BaseException) -> None:
    """End the process at once with a clear error; durable waves stay, later events are read again."""
    if isinstance(error, NextclickError) and not tells_json():
        for line in (f"error: {error.what}", error.meaning, f"do: {error.remedy}"):
            print(escaped(line), file=sys.stderr, flush=True)
    else:
        log_failure(error)
    logger.critical(
        "the worker ends; what is durable stays, the rest is read again", extra=happening("worker_crashed")
    )
    note_crash()
    sys.stderr.flush()
    os._exit(EXIT_FAILURE)


def or_crash(do: Callable[..., None], *arguments: Any) -> None:
    """Call `do`, and end the process if it fails: in an executor, a failure would go unseen."""
    try:
        do(*arguments)
    except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
        crash(error)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def registry_of(
    pipeline: Pipeline, asking: AskingMetrics, siblings: Siblings | None = None
) -> CollectorRegistry:
    """Every Prometheus series of a worker, one collector for each file that has some."""
    registry = CollectorRegistry()
    # RSS, file handles, CPU time and start of the process.
    ProcessCollector(registry=registry)
    for collector in (
        pipeline.counters,
        QualityCollector(pipeline.counters.prequential),
        WorkerGauges(pipeline),
        FreshnessMetrics(pipeline.live),
        CatalogueMetrics(pipeline.live.catalogue),
        ExperimentMetrics(pipeline.live),
        ShadowMetrics(pipeline.shadow),
        asking,
    ):
        registry.register(collector)
    if siblings is not None:
        registry.register(ProcessMetrics(siblings))
    return registry


class WorkerApp:
    """One worker: the Faust app and the pipeline behind it."""

    def __init__(
        self,
        settings: Settings,
        live: ModelSlot,
        prepared_s: float,
        decoder: EventDecoder,
        siblings: Siblings | None,
    ) -> None:
        self.settings = settings
        self.live = live
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        self.faust = make_faust_app(settings)
        self.faust.web = web = GuardedWeb(self.faust, WebGuard(settings))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_up = threading.Event()
        self._prepared_s = prepared_s
        lanes = range(settings.step_threads)
        self._steps = [ThreadPoolExecutor(1, thread_name_prefix=f"step-{lane}") for lane in lanes]
        self._models = ThreadPoolExecutor(1, thread_name_prefix="models")
        self._channel = WaveChannel(self.faust, maxsize=CHANNEL_WAVES * len(lanes))
        counters = WorkerCounters(Prequential(settings.quality_window, settings.quality_fading))
        recent_lists = RecentLists()
        self.pipeline = Pipeline(
            settings,
            live,
            counters,
            hand_to_step_thread=self._put_on_channel,
            on_durable=[counters.add, recent_lists.add],
            on_failure=crash,
            decoder=decoder,
            placements=PublishedPlacements(live.catalogue, settings.recent_items),
        )
        self.model_switch = ModelSwitch(settings, live, self.pipeline.shadow, counters)
        self.models_topic = ModelsTopicWatch(settings, self._follow_new_topic, crash)
        self._add_topology()
        asking = AskingMetrics()
        registry = registry_of(self.pipeline, asking, siblings)
        registry.register(web.metrics())
        status = StatusViews(self.pipeline, registry, siblings)
        add_routes(self.faust, settings, self.pipeline, recent_lists, asking, status)

    @property
    def can_finish(self) -> bool:
        """Whether waves move and no partition is being recovered, so that a stop can finish all waves."""
        return self._is_up.is_set() and not self.pipeline.recovering

    def begin_with(
        self, kept: dict[bytes, bytes], known_until: list[int], refused: list[NextclickError]
    ) -> None:
        """Take up the newest shadow and experiment of `models`, which is known up to `known_until`."""
        self.model_switch.begin_with(kept, known_until, refused)
        if SHADOW_KEY in kept:
            self._models.submit(or_crash, self.model_switch.on_announcement, SHADOW_KEY, kept[SHADOW_KEY])

    def _is_recent(self, timestamp_ms: float) -> bool:
        """Whether a record of `models` was made while the worker started, or later."""
        return timestamp_ms / 1000 >= self._prepared_s - CLOCK_SLACK_S

    def _follow_new_topic(self, record: Message) -> None:
        """Follow a record of a topic made anew; copies of old records bring no old champion back."""
        key, value = _bytes(record.key()), _bytes(record.value())
        if key in (SHADOW_KEY, EXPERIMENT_KEY) or self._is_recent(record.timestamp()[1]):
            self._models.submit(or_crash, self.model_switch.on_announcement, key, value)

    def _put_on_channel(self, waves: Any) -> None:
        """Called in the source's thread, which bounds what each lane is given."""
        self._is_up.wait()
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._channel.put(waves), self._loop)

    def _add_topology(self) -> None:
        @self.faust.agent(self._channel, name="waves")
        async def waves(stream: Any) -> None:
            loop = asyncio.get_running_loop()
            self.pipeline.stepping.set()
            async for several in stream:
                # Not awaited: a lane takes its waves in order and never waits for this loop, and no
                # lane for another. How many are under way is bounded, and a failure ends the process.
                loop.run_in_executor(self._steps[several[0].lane], or_crash, self.pipeline.step, several)

        topic = self.faust.topic(self.settings.models_topic, value_serializer="raw", key_serializer="raw")

        @self.faust.agent(topic, name="models")
        async def models(stream: Any) -> None:
            loop = asyncio.get_running_loop()
            async for event in stream.events():
                message = event.message
                if self.models_topic.reads:
                    continue
                is_recent = self._is_recent(1000 * message.timestamp)
                if self.model_switch.is_news(event.key, message.partition, message.offset, is_recent):
                    await loop.run_in_executor(
                        self._models, or_crash, self.model_switch.on_announcement, event.key, event.value
                    )

        @self.faust.timer(interval=1.0)
        async def review() -> None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._models, or_crash, self.model_switch.review)

        @self.faust.task
        async def open_channel() -> None:
            self._loop = asyncio.get_running_loop()
            self._is_up.set()


class _Worker(FaustWorker):
    """Faust's worker, which finishes the pipeline before Faust stops its agents."""

    worker_app: WorkerApp

    async def stop(self) -> None:
        """Called once, by SIGTERM or SIGINT, or when Faust itself has failed."""
        if not self._stopped.is_set():
            reason = self.crash_reason or self.app.crash_reason
            if reason is not None:
                crash(reason)
            if not self.worker_app.can_finish:
                logger.info(
                    "ended while it started or recovered; the next start goes on",
                    extra=happening("ended_while_starting"),
                )
                os._exit(0)
            self.worker_app.models_topic.stop()
            await asyncio.get_running_loop().run_in_executor(None, self.worker_app.pipeline.stop)
            forget_crashes()
        await super().stop()

    def _setup_logging(self) -> None:
        """Does nothing: the command line has set logging up, and Faust must not replace it."""


def run_worker(
    settings: Settings, siblings: Siblings | None = None, on_start: Callable[[], None] = lambda: None
) -> None:
    """Check everything, call `on_start`, then run until SIGTERM or SIGINT.

    `siblings` are the other processes of this worker, where this one speaks for them. Raises
    NextclickError before anything is consumed.
    """
    torch.set_num_threads(settings.torch_threads)
    # RocksDB and librdkafka release the GIL at each call; at the default of 5 ms they would wait long.
    sys.setswitchinterval(GIL_SWITCH_S)
    decoder = decoder_of(settings, waits=False)
    ensure_topics(settings)
    check_group(settings)
    prepared_s = time.time()
    catalogue = Catalogue()
    sources = CatalogueSources(settings, catalogue)
    sources.load()
    live = ModelSlot(settings, catalogue, decoder.session_gap_s)
    first, refused = prepare_first(live, Registry(settings.registry_dir))
    live.offer(first)
    # Before its records: those of a topic made anew meanwhile are read again.
    models_id = topic_id(settings, settings.models_topic)
    kept, known_until = kept_values(settings)
    app = WorkerApp(settings, live, prepared_s, decoder, siblings)
    app.begin_with(kept, known_until, refused)
    worker = _Worker(app.faust, loglevel=settings.log_level, quiet=True, redirect_stdouts=False)
    worker.worker_app = app
    # It would write control characters into the log.
    worker.spinner = None
    # Objects made so far stay for good: the collector need not visit them again.
    gc.collect()
    gc.freeze()
    stay_out_after_crashes(settings)
    sources.start(crash)
    app.models_topic.begin(models_id)
    on_start()
    # Recovery goes on while Faust starts.
    app.pipeline.start()
    worker.execute_from_commandline()
