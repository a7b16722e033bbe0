"""Workers that share a topic, each a process with a state folder and a port of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from deploy.benchmarks.load.traffic import walk_frame
from deploy.benchmarks.measure.process import topics_of_run
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import columns_of
from model.registry.registry import Registry
from model.training.train import train
from model.training.trained_model import TrainedModel
from replay.end_to_end.worker_process import WorkerProcess, free_port
from stream.kafka.topics import ensure_topics, optional_plans, plans
from stream.settings import Settings

POLL_S = 0.2
TRAINED_SESSIONS = 1_500


class WorkerGroup:
    """Topics, a registry and the workers `names`; a worker runs from `start` until `stop` or `kill`."""

    def __init__(
        self,
        address: str,
        folder: Path,
        name: str,
        names: tuple[str, ...] = ("a", "b"),
        patience_s: float = 240.0,
        **changes: Any,
    ) -> None:
        run = f"{name}-{os.getpid()}"
        self.folder = folder
        self.patience_s = patience_s
        # Byte for byte, so that a list that comes twice can be compared.
        common = {
            "bootstrap_servers": address,
            **topics_of_run(run),
            "group_id": run,
            "registry_dir": folder / "registry",
            "torch_threads": 1,
            "deterministic": True,
            "partitions": 4,
            **changes,
        }
        self._settings = {
            worker: Settings(
                **common, worker_id=f"{run}-{worker}", state_dir=folder / worker, web_port=free_port()
            )
            for worker in names
        }
        self.workers: dict[str, WorkerProcess] = {}
        self.registry = Registry(folder / "registry")
        ensure_topics(self.settings)

    @property
    def settings(self) -> Settings:
        """The settings of the first worker; topics, group and registry are those of all."""
        return next(iter(self._settings.values()))

    def settings_of(self, name: str) -> Settings:
        """The settings of one worker."""
        return self._settings[name]

    def train(self, seed: int = 1, promote: bool = True) -> str:
        """Train a version of what shoppers of the traffic do. Returns its name."""
        config = ModelConfig(hidden_size=16, epochs=3, negatives=64, learning_rate=0.1, seed=seed)
        frame = walk_frame(TRAINED_SESSIONS, int(time.time() * 1000))
        vocabulary = Vocabulary.from_frame(frame, columns_of(config))
        result = train(
            Sessions.from_frame(frame, vocabulary, SessionRule(config.session_gap_s)), vocabulary, config
        )
        learned = {"events": len(frame), "last_event_time_ms": int(frame["event_time_ms"].max())}
        model = self.registry.save(TrainedModel(result.network, config, vocabulary), scores={}, data=learned)
        if promote:
            self.registry.promote(model.version)
        return model.version

    def log_path(self, name: str) -> Path:
        """Where a worker writes its log, start after start."""
        return self.folder / f"{name}.log"

    def start(self, *names: str) -> None:
        """Start these workers, all without names; one that runs goes on."""
        for name in names or tuple(self._settings):
            if name not in self.workers or self.workers[name].process.poll() is not None:
                self.workers[name] = WorkerProcess(self._settings[name], self.log_path(name))

    def stop(self, *names: str) -> None:
        """End these workers by SIGTERM, all without names."""
        for name in names or tuple(self.workers):
            self.workers[name].stop()

    def kill(self, *names: str) -> None:
        """End these workers by SIGKILL, all without names."""
        for name in names or tuple(self.workers):
            self.workers[name].kill()

    def settle(self) -> None:
        """Wait until all partitions are served and each worker has some; what has ended is started again."""

        def is_settled() -> bool:
            self.start()
            return self.is_settled()

        self.wait(is_settled, "all partitions served by all workers")

    def is_settled(self) -> bool:
        """Whether each worker is ready with partitions, and all partitions are with one of them."""
        found: list[int] = []
        for worker in self.workers.values():
            status = worker.status()
            if not (status and status["ready"] and status["partitions"]):
                return False
            found += [int(number) for number in status["partitions"]]
        return sorted(found) == list(range(self.settings.partitions))

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float | None = None) -> None:
        """Return when it is so. Raises NextclickError when it takes too long."""
        timeout_s = timeout_s or self.patience_s
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise NextclickError(
                    f"not seen within {timeout_s:.0f} s: {what}",
                    "What was to be measured cannot be.",
                    f"Look at the logs in {self.folder}, or give it more time.",
                )
            time.sleep(POLL_S)

    def remove_topics(self) -> None:
        """Delete the topics; one that is gone already is no matter."""
        admin = AdminClient({**self.settings.kafka_config(), "log_level": 0})
        names = [plan.name for plan in (*plans(self.settings), *optional_plans(self.settings))]
        # A topic that is not of this run is somebody's own.
        names = [name for name in names if name.startswith(f"{self.settings.group_id}-")]
        for future in admin.delete_topics(names).values():
            try:
                future.result(30)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
