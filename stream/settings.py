"""Settings of every nextclick process: flags, environment, TOML file, defaults.

Precedence is in that order. All problems are reported at once and before any connection.
Knows names, units and ranges; opens only the TOML file and the files that the security settings name.
The environment variables are the field names in capitals after `NEXTCLICK_`; one that names no
setting is an error. A password is neither a flag nor in the TOML file, and never shown.
"""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from model.config import Scoring
from model.errors import NextclickError
from stream.failpoints import VARIABLE as FAULT_VARIABLE
from stream.kafka_security import SECRETS, KafkaSecurity
from stream.outcome_settings import OutcomeSettings
from stream.own_topic import TOPIC, OwnTopic
from stream.process_settings import ProcessSettings, cores
from stream.web_address import WebAddress
from stream.web_settings import WebSettings

PREFIX = "NEXTCLICK_"
CONFIG_VARIABLE = "NEXTCLICK_CONFIG"
# Not settings: read by the project's scripts, or before the settings.
SCRIPT_VARIABLES = frozenset(
    {
        CONFIG_VARIABLE,
        FAULT_VARIABLE,
        "NEXTCLICK_VENV",
        "NEXTCLICK_TEST_KAFKA",
        "NEXTCLICK_TEST_DIR",
        "NEXTCLICK_TEST_BENCHMARKS",
    }
)

TopicName = Annotated[str, Field(pattern=rf"^{TOPIC}$")]


class Settings(
    OutcomeSettings, ProcessSettings, WebSettings, WebAddress, OwnTopic, KafkaSecurity, BaseSettings
):
    """The settings of a process; see the fields for defaults and ranges.

    >>> Settings(partitions=8).partitions
    8
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    events_topic: TopicName = "events"
    recommendations_topic: TopicName = "recommendations"
    models_topic: TopicName = "models"
    dlq_topic: TopicName = "events-dlq"
    items_topic: TopicName = Field("items", description="what the shop says of its items; need not be there")
    purchases_topic: TopicName = Field("nextclick-purchases", description="what users bought, if it is there")
    partitions: int = Field(4, ge=1, le=4096, description="of events and of recommendations")
    replication_factor: int = Field(1, ge=1, le=9)
    group_id: str = Field("nextclick", min_length=1, description="consumer group that shares `events`")
    worker_id: str = Field(
        default_factory=lambda: f"worker-{socket.gethostname()}",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="this instance's name: its static membership and its Faust app id",
    )
    state_dir: Path = Field(Path("state"), description="folder of the session stores, one per partition")
    registry_dir: Path = Field(Path("registry"), description="folder of the model versions")
    rules: Path | None = Field(None, description="TOML file of what may be listed; followed while it changes")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    scoring: Scoring = Field(
        "auto", description="bfloat16: the exact lists, sooner; auto: where it helps; approximate: by faiss"
    )
    step_threads: int = Field(
        default_factory=lambda: min(2, cores()),
        ge=1,
        le=64,
        description="step waves side by side; up to the cores",
    )
    torch_threads: int = Field(
        1, ge=1, le=1024, description="of each step thread; more help where cores stand idle"
    )

    allowed_lateness_s: float = Field(60, ge=0, description="an event later than this counts as late")
    max_future_s: float = Field(86_400, ge=0, description="an event further ahead of the wall is rejected")
    min_event_time_ms: int = Field(
        631_152_000_000, ge=0, description="an event before it (1990) is rejected: seconds as ms are 1970"
    )
    idle_expiry_s: float | None = Field(
        None, gt=0, description="without events for so long, event time goes on with the wall"
    )
    recent_items: int = Field(50, ge=1, le=1000, description="kept per session, for rebuilding")

    wave_size: int = Field(64, ge=1, le=4096, description="events stepped together, one per session")
    wave_wait_ms: float = Field(5, ge=0, le=1000, description="longest wait for a wave to fill")
    waves_in_flight: int = Field(
        8, ge=2, le=64, description="bound on published, not yet written waves, and on those that wait for it"
    )
    requests_in_flight: int = Field(
        1, ge=1, le=5, description="of lists to each broker; more where they answer late, for a core's time"
    )
    deterministic: bool = Field(False, description="pad waves, so that lists are equal byte for byte")
    follow: Literal["none", "popularity", "new-items", "both"] = Field(
        "none", description="taken up between trainings: what is popular now, items born since, or both"
    )
    follow_every_s: float = Field(60, ge=1, description="event time between two moments that take it up")
    follow_items: int = Field(
        10_000, ge=1, le=1_000_000, description="most items born since a training, a row of the tables each"
    )
    follow_events: int = Field(
        500_000, ge=1_000, description="newest events kept for the next version, 40 bytes each"
    )
    commit_interval_ms: float = Field(200, ge=0, le=60_000)
    newest_only_lag: int | None = Field(
        None, ge=1, description="lag beyond which only a session's newest event gets a list"
    )
    popular_lag: int | None = Field(None, ge=1, description="lag beyond which that list is POP's")
    session_timeout_ms: int = Field(
        # Above the 9 s after which KRaft takes a dead broker for dead, and an election of the coordinator.
        15_000,
        ge=6_000,
        le=1_800_000,
        description="a silent worker's partitions go to others after it",
    )
    quality_window: int = Field(
        10_000, ge=100, le=10_000_000, description="events in rolling Recall@20 and MRR@20"
    )
    quality_fading: float = Field(
        0.9999, gt=0, lt=1, description="how much an event still counts when the next one comes"
    )
    block_cache_bytes: int = Field(64 << 20, ge=1 << 20, description="RocksDB cache of all partitions")
    write_buffer_bytes: int = Field(16 << 20, ge=1 << 20, description="RocksDB memtable of one partition")

    retrain_newest_events: int = Field(
        500_000, ge=100, description="at most so many of the newest events are learned from"
    )
    retrain_epochs: int = Field(1, ge=1, le=1000, description="passes over them, going on from the champion")
    gate_fraction: float = Field(
        0.1, ge=0.01, le=0.5, description="newest share of them that champion and challenger are held to"
    )
    gate_margin: float = Field(
        0.01, ge=0, le=1, description="of Recall@20 and MRR@20 a challenger may lose; 0: has to be better"
    )
    gate_step_factor: float = Field(
        4.0, gt=0, description="times the champion's step time that a challenger may take"
    )
    gate_min_sessions: int = Field(100, ge=1, description="evaluated sessions without which all is refused")
    shadow_sessions: int = Field(
        20_000, ge=1, description="whose shadow states are kept in memory, about 1 KB each"
    )
    rollback_share: float = Field(
        0.1, ge=0, le=1, description="of sessions on which the former champion steps on after a promotion"
    )
    rollback_min_sessions: int = Field(200, ge=30, description="of these, scored before a rollback")
    rollback_max_sessions: int = Field(
        20_000, ge=30, description="scored sessions after which the promotion stands"
    )

    log_format: Literal["human", "json"] = Field("human", description="of the log lines on stderr")
    metrics_port: int | None = Field(
        None, ge=1, le=65_535, description="of retrain --every, archive, ingest, outcomes: series at web_host"
    )
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    @field_validator("follow")
    @classmethod
    def _moves_lists(cls, follow: str, info: ValidationInfo) -> str:
        """Lists that move while events come cannot be equal byte for byte."""
        if follow != "none" and info.data.get("deterministic"):
            raise ValueError("lists move while events come, and `deterministic` is set: set one of them only")
        return follow

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the TOML file named by NEXTCLICK_CONFIG."""
        path = os.environ.get(CONFIG_VARIABLE)
        file = (TomlConfigSettingsSource(settings_cls, toml_file=path),) if path else ()
        return (init_settings, env_settings, *file)

    def environment(self) -> dict[str, str]:
        """The environment variables that give another process these settings, including a password."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            f"{PREFIX}{name.upper()}": value.get_secret_value()
            if isinstance(value, SecretStr)
            else str(value)
            for name, value in values.items()
            if value is not None
        }

    def kafka_config(self) -> dict[str, Any]:
        """The librdkafka properties of all clients. They may hold a password: pass them to a client only."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.worker_id,
            "logger": logging.getLogger("kafka"),
            **self.security_properties(),
        }

    def producer_config(self) -> dict[str, Any]:
        """The librdkafka properties of every producer.

        Idempotent, because without it a topic's first records came out of order; murmur2_random,
        because Java's and aiokafka's producers partition keys the same way.
        """
        return {
            **self.kafka_config(),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "queue.buffering.max.messages": 100_000,
            "queue.buffering.max.kbytes": 262_144,
            "message.timeout.ms": 120_000,
        }


def load_settings(**flags: Any) -> Settings:
    """Read the settings; a flag that is None counts as not given.

    Raises a NextclickError that lists all problems.

    >>> load_settings(partitions=8, group_id=None).group_id
    'nextclick'
    """
    problems = [
        f"{name}: no such setting"
        for name in sorted(os.environ)
        if name.startswith(PREFIX)
        and name not in SCRIPT_VARIABLES
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
    ]
    given = {name: value for name, value in flags.items() if value is not None}
    problems += [
        f"{name}: a secret is no flag, where others see it" for name in sorted(SECRETS & given.keys())
    ]
    path = os.environ.get(CONFIG_VARIABLE)
    if path and not Path(path).is_file():
        problems.append(f"{CONFIG_VARIABLE}: no file {path}")
    settings = None
    try:
        in_file = TomlConfigSettingsSource(Settings, toml_file=path)() if path else {}
        problems += [
            f"{name}: a secret does not belong into {path}; set NEXTCLICK_{name.upper()} or {name}_file"
            for name in sorted(SECRETS & in_file.keys())
        ]
        settings = Settings(**given)
    except ValidationError as error:
        problems += [_problem(dict(e)) for e in error.errors()]
    except ValueError as error:
        problems.append(f"{path}: {error}")
    if problems or settings is None:
        raise NextclickError(
            "settings are not valid: " + "; ".join(problems),
            "Nothing was started and nothing was read.",
            "Correct the flags, the NEXTCLICK_* variables or the TOML file; `nextclick settings` lists them.",
        )
    return settings


def _problem(error: dict[str, Any]) -> str:
    """One problem in words. Shows the given value only for a known setting that is no secret."""
    name = ".".join(map(str, error["loc"]))
    text = str(error["msg"]).removeprefix("Value error, ")
    if not name:
        return text
    shown = name in Settings.model_fields and name not in SECRETS
    return f"{name}: {text} (got {error['input']!r})" if shown else f"{name}: {text}"


def setting_source(name: str, flags: dict[str, Any]) -> str:
    """Where the value of setting `name` comes from: flag, environment, file or default."""
    if flags.get(name) is not None:
        return "flag"
    if f"{PREFIX}{name.upper()}" in {variable.upper() for variable in os.environ}:
        return "environment"
    path = os.environ.get(CONFIG_VARIABLE)
    if path and name in TomlConfigSettingsSource(Settings, toml_file=path)():
        return "file"
    return "default"
