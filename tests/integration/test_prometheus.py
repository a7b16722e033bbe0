import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from prometheus_client.parser import text_string_to_metric_families

from deploy.grafana.generate import FOLDER, files
from deploy.grafana.render.__main__ import WALL
from deploy.grafana.render.answers import Prometheus as Renderer
from deploy.grafana.render.answers import gather
from deploy.grafana.render.board import read_board
from deploy.grafana.render.draw import Drawn
from deploy.grafana.render.picture import picture
from model.networks.fused.source_arrays import SOURCES
from model.registry.registry import Registry
from model.registry.version_files import REFUSALS
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.asking.metrics import KINDS as ASKED_KINDS
from stream.asking.metrics import OUTCOMES as ASKED_OUTCOMES
from stream.events import DISMISS, FALLBACKS, LEFT_OUT_REASONS, REASONS
from stream.experiments.experiment import SIDES
from stream.quality.cells import KINDS, LEARNED, POSITIONS
from stream.quality.cells import SYSTEMS as SCORED
from stream.quality.item_age import AGES
from stream.quality.metrics import SHOWN_WINDOWS
from stream.quality.source_quality import LIST
from stream.retraining.metrics import OUTCOMES as RUN_OUTCOMES
from stream.retraining.metrics import STEPS, SYSTEMS
from stream.settings import Settings
from stream.wave.processor import OUTCOMES
from stream.worker.producer_faults import MEANINGS
from tests.conftest import settings_of_its_own
from tests.harness.fork_server import ForkedProcess, popen
from tests.harness.prometheus import Prometheus, prometheus
from tests.harness.retraining import first_champion, two_parts
from tests.harness.serving import all_committed, stop, worker

pytestmark = [pytest.mark.kafka, pytest.mark.prometheus]
BROKEN = 25
BOARDS = {name: json.loads(content) for name, content in files().items()}


@dataclass
class Stack:
    """A worker, retraining, an archiver, an ingester and their Prometheus, after a log with a swap in it."""

    settings: Settings
    prometheus: Prometheus
    process: WorkerProcess
    addresses: dict[str, str]
    versions: list[str]
    events: int

    def metrics(self, job: str) -> str:
        with urllib.request.urlopen(f"http://{self.addresses[job]}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
            return text


def send_broken(settings: Settings) -> None:
    """Records that are no events, with what nobody wants to see in a label."""
    producer = Producer(settings.producer_config())
    for n in range(BROKEN):
        producer.produce(settings.events_topic, b'{"session_id": "evil%d"' % n, b"evil%d" % n)
    assert producer.flush(120) == 0


def source_of(settings: Settings) -> str:
    return f"{settings.events_topic}-clicks"


def send_to_ingest(settings: Settings) -> None:
    """Records of a shop's own topic: nearly all are events, some of another kind, one is broken."""
    producer = Producer(settings.producer_config())
    for n in range(300):
        kind = "scroll" if n % 10 == 3 else "look"
        record = {"visit": f"v{n % 40}", "sku": n % 7, "at": 1_700_000_000_000 + n, "what": kind}
        producer.produce(source_of(settings), json.dumps(record).encode() if n else b"{")
    assert producer.flush(120) == 0


@pytest.fixture(scope="module")
def stack(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("watched")
    settings = settings_of_its_own(kafka, folder, partitions=2, session_timeout_ms=30_000)
    earlier, later = two_parts()
    first = first_champion(settings, earlier)
    most = int(0.8 * len(later))
    addresses = {"worker": f"127.0.0.1:{settings.web_port}"}
    with ExitStack() as running:
        # Its events are no business of the worker's, whose are counted.
        mapping = folder / "clicks.toml"
        mapping.write_text(
            "[columns]\nsession = 'visit'\nitem = 'sku'\ntime = 'at'\nkind = 'what'\n[kinds]\nlook = 'view'\n"
        )
        mapped = f"{settings.events_topic}-mapped"
        admin = AdminClient(settings.kafka_config())
        admin.create_topics([NewTopic(source_of(settings), 2, 1)])[source_of(settings)].result(timeout=120)
        running.callback(lambda: admin.delete_topics([source_of(settings), mapped]))
        arguments = {
            "ingest": ["ingest", "--from", f"{source_of(settings)}={mapping}", "--topic", mapped],
            "retrain": ["retrain", "--every", "30m", "--clock", "event"],
            "archive": ["archive", "--folder", str(folder / "archive"), "--rotate-s", "1"],
        }
        for job, command in arguments.items():
            own = settings.model_copy(update={"metrics_port": free_port(), "worker_id": job})
            addresses[job] = f"127.0.0.1:{own.metrics_port}"
            process = start_command(own, folder, command)
            running.callback(process.wait)
            running.callback(process.kill)
        watching = running.enter_context(prometheus(folder, addresses))
        serving = running.enter_context(worker(settings, folder))
        watching.wait_until(lambda: bool(watching.series("nextclick_ready")), "first scrape")
        begun = "nextclick_ingest_source_records_total"
        watching.wait_until(lambda: bool(watching.series(begun)), "the ingester's first scrape")
        send_to_ingest(settings)
        replay_frames(settings, [later.iloc[:most]])
        send_broken(settings)
        serving.wait_until(lambda status: status["model"] != first, "hot swap")
        replay_frames(settings, [later.iloc[most:]])
        serving.wait_until(all_committed(settings), "the rest")
        versions = [row["version"] for row in Registry(settings.registry_dir).versions()]
        since = "nextclick_model_serving_since_seconds"
        watching.wait_until(lambda: len(watching.series(since)) == len(versions), "scrape of each version")
        yield Stack(settings, watching, serving, addresses, versions, len(earlier) + len(later))
        stop(serving)


def start_command(settings: Settings, folder: Path, command: list[str]) -> ForkedProcess:
    with (folder / f"{command[0]}.log").open("wb") as log:
        return popen(
            [sys.executable, "-m", "nextclick", *command],
            env={**os.environ, **settings.environment()},
            stdout=log,
            stderr=log,
        )


# They tell the truth of a machine that is too slow, and say nothing of the rules.
OF_SLOWNESS = {
    "NextclickBudgetBurnsFast",
    "NextclickBudgetBurnsSlowly",
    "NextclickListDelay",
    "NextclickListsWait",
    "NextclickEventToList",
}


def test_prometheus_scrapes_every_process_and_all_rules_can_be_evaluated(stack: Stack) -> None:
    def healthy() -> bool:
        targets = stack.prometheus.ask("targets")["activeTargets"]
        return {t["labels"]["job"]: t["health"] for t in targets} == {
            "nextclick-worker": "up",
            "nextclick-retrain": "up",
            "nextclick-archive": "up",
            "nextclick-ingest": "up",
            "prometheus": "up",
        }

    stack.prometheus.wait_until(healthy, "health")
    groups = stack.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] == "err"} == {}
    alerts = stack.prometheus.ask("alerts")["alerts"]
    firing = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
    assert firing - OF_SLOWNESS == set()


def test_prometheus_counts_what_was_done(stack: Stack) -> None:
    """The last sample of each is what the worker says itself."""

    def last(query: str) -> float:
        (values,) = stack.prometheus.series(query).values()
        return values[-1]

    total = stack.events + BROKEN
    stack.prometheus.wait_until(lambda: last("sum(nextclick_events_read_total)") == total, "all events")
    stack.prometheus.wait_until(lambda: last("sum(nextclick_events_total)") == total, "all outcomes")
    assert last('sum(nextclick_rejected_events_total{reason="not_json"})') == BROKEN
    assert last("sum(nextclick_identity_difference_events)") == 0
    assert last("sum(nextclick_lag_records)") == 0
    assert last("sum(nextclick_partition_lag_records)") == 0
    assert last("sum(nextclick_model_swaps_total)") == len(stack.versions) - 1
    trained_ms = Registry(stack.settings.registry_dir).load().manifest["data"]["last_event_time_ms"]
    assert last("sum(nextclick_model_trained_until_seconds)") == trained_ms / 1000
    stack.prometheus.wait_until(lambda: last("sum(nextclick_archive_events_total)") == total, "the archive")
    assert last("sum(nextclick_archive_lag_records)") == 0
    ingested = "sum(nextclick_ingest_source_records_total)"
    stack.prometheus.wait_until(lambda: last(ingested) == 300, "the ingester")
    assert last("sum(nextclick_ingest_left_out_records_total)") == 30
    assert last("sum(nextclick_ingest_rejected_records_total)") == 1
    assert last("sum(nextclick_ingest_source_lag_records)") == 0
    runs = 'sum(nextclick_retrain_runs_total{outcome="accepted"})'
    stack.prometheus.wait_until(lambda: last(runs) == len(stack.versions), "the retrainings")
    assert last("sum(nextclick_recovery_progress_ratio)") == 2


def queries() -> Iterator[tuple[str, str]]:
    """Title and expression of every panel and annotation."""
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{name}: {panel['title']}, {target['legendFormat']}", target["expr"]
        for mark in board["annotations"]["list"]:
            yield f"{name}: {mark['name']}", mark["expr"]


def asked(expression: str) -> str:
    """As Grafana would ask, of all workers."""
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")


# What is empty where all is well.
EMPTY_WHEN_WELL = {"overview.json: Alerts that fire, by name, Alerts that fire, by name"}


def test_every_query_of_every_dashboard_returns_data(stack: Stack) -> None:
    missing: dict[str, str] = {}
    assert len(set(queries())) > 100

    def nothing_is_missing() -> bool:
        found = {title: q for title, q in queries() if not stack.prometheus.series(asked(q))}
        missing.clear()
        missing.update({title: q for title, q in found.items() if title not in EMPTY_WHEN_WELL})
        return not missing

    try:
        stack.prometheus.wait_until(nothing_is_missing, "data")
    except AssertionError:
        pytest.fail(f"{len(missing)} queries without data: {missing}")


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_is_drawn_with_data_of_what_runs(stack: Stack, name: str) -> None:
    """As somebody sees it now: no panel is empty, no number is cut, none is NaN."""
    board = read_board(FOLDER / name)
    # No alert fires; and the traffic may have ended a minute ago.
    empty = {"Alerts that fire, by name", "Delay p99"}
    seen: list[Drawn] = []

    def nothing_is_missing() -> bool:
        span_s = time.time() - stack.prometheus.began_s
        source = Renderer(f"http://{stack.prometheus.address}")
        answers = gather(board, source, end_s=time.time(), span_s=span_s, scrape_s=1)
        seen[:] = picture(board, answers, WALL)[1]
        return {panel.panel for panel in seen if panel.empty} <= empty

    try:
        stack.prometheus.wait_until(nothing_is_missing, "data", 240)
    finally:
        print({panel.panel: panel.texts for panel in seen})
    stats = {panel.title for panel in board.panels if panel.kind == "stat"}
    for panel in seen:
        assert panel.panel not in panel.cut
        assert "NaN" not in panel.texts, panel.panel
        assert panel.panel not in stats or not panel.cut, panel.panel


def test_the_workers_to_choose_are_those_that_are_scraped(stack: Stack) -> None:
    for board in BOARDS.values():
        (variable,) = board["templating"]["list"]
        parts = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
        assert parts is not None
        values = stack.prometheus.ask(f"label/{parts[2]}/values", **{"match[]": parts[1]})
        assert values == [stack.addresses["worker"]]


def test_a_mark_stands_where_each_version_began_to_serve(stack: Stack) -> None:
    (mark,) = BOARDS["quality.json"]["annotations"]["list"]
    marks = stack.prometheus.series(mark["expr"])
    assert [dict(labels)["version"] for labels in sorted(marks)] == sorted(stack.versions)
    moments_ms = [of[-1] for _, of in sorted(marks.items())]
    assert moments_ms == sorted(moments_ms)
    assert all(1000 * stack.prometheus.began_s - 60_000 < ms for ms in moments_ms)


def test_labels_never_come_from_the_data_and_are_those_of_the_newest_version(stack: Stack) -> None:
    versions = set(stack.versions)
    allowed: dict[str, set[str]] = {
        "partition": {"0", "1"},
        "outcome": {*OUTCOMES, *RUN_OUTCOMES, *ASKED_OUTCOMES, "committed", "aborted"},
        # Those that the command line names.
        "topic": {source_of(stack.settings)},
        "kind": set(ASKED_KINDS),
        "side": set(SIDES),
        "reason": {
            *REASONS,
            *LEFT_OUT_REASONS,
            DISMISS,
            *FALLBACKS,
            *REFUSALS,
            *MEANINGS,
            "announcement",
            "unservable",
        },
        "source": {LIST, *SOURCES},
        "system": {*SCORED, *SYSTEMS.values(), "shadow"},
        "window": set(SHOWN_WINDOWS),
        "slice": {*KINDS, LEARNED},
        "value": {"all", *POSITIONS, *AGES, *versions},
        "version": versions,
        "step": set(STEPS),
        "role": {"former", "challenger"},
        "bound": {"mean", "low", "high"},
    }
    found: defaultdict[str, set[str]] = defaultdict(set)
    for job in stack.addresses:
        series = 0
        for family in text_string_to_metric_families(stack.metrics(job)):
            for sample in family.samples:
                series += 1
                for name, value in sample.labels.items():
                    found[name].add(value)
                if sample.name == "nextclick_model_info":
                    assert sample.labels == {"version": stack.versions[-1]}
        assert 8 < series < 1_500, job
    assert found.pop("le")
    assert {name: odd for name, values in found.items() if (odd := values - allowed[name])} == {}
    assert found["partition"] == {"0", "1"}


@pytest.mark.parametrize("job", ["worker", "retrain", "archive", "ingest"])
def test_names_and_types_are_as_prometheus_wants_them(stack: Stack, job: str) -> None:
    assert promtool_check(stack.metrics(job)) == ""


def promtool_check(metrics: str) -> str:
    ended = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True, check=False
    )
    return ended.stdout + ended.stderr
