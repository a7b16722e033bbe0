"""deploy/compose.yaml works: its very commands, variables and files, run without containers."""

from __future__ import annotations

import csv
import json
import lzma
import shutil
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.registry.registry import Registry
from stream.settings import Settings
from tests.conftest import ROOT
from tests.harness.archives import archived, logged
from tests.harness.composed import Composition
from tests.harness.serving import all_lists, by_event, events_by_id

# A whole installation starts, trains and retrains on what machine there is.
pytestmark = [pytest.mark.prometheus, pytest.mark.wget, pytest.mark.timeout(600)]
WORKERS = ("worker-1", "worker-2")
ITEMS_OF_A_BASKET = 4


def shorten(log: Path) -> None:
    """Keep the first items of each basket: the whole log takes the machines of the tests too long."""
    kept: Counter[str] = Counter()
    with lzma.open(log, "rt", newline="") as file:
        rows = list(csv.reader(file))
    with lzma.open(log, "wt", newline="", preset=1) as file:
        writer = csv.writer(file)
        for row in rows:
            kept[row[0]] += 1
            if kept[row[0]] <= ITEMS_OF_A_BASKET:
                writer.writerow(row)


def asked(stack: Composition, name: str, port: int, path: str) -> Any:
    """The JSON that a service answers with."""
    with urllib.request.urlopen(f"http://{stack.address(name, port)}{path}", timeout=60) as answer:
        return json.load(answer)


def status(stack: Composition, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = asked(stack, name, 6066, "/api/status")
    return answer


def targets(stack: Composition) -> dict[str, list[str]]:
    """Job → the health of its targets, as Prometheus has it."""
    found: dict[str, list[str]] = {}
    for target in asked(stack, "prometheus", 9090, "/api/v1/targets")["data"]["activeTargets"]:
        found.setdefault(target["labels"]["job"], []).append(target["health"])
    return found


def map_targets(stack: Composition) -> None:
    """Prometheus's own files name services and their ports too."""
    for path in stack.volume("./prometheus").rglob("*.yml"):
        path.write_text(stack.mapped("prometheus", path.read_text()))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """Everything but Grafana is up, and the demo's log has been replayed."""
    folder = tmp_path_factory.mktemp("compose")
    # Often enough for a test; the log as fast as it goes.
    with Composition(folder, {"RETRAIN_EVERY": "10s", "REPLAY_SPEED": "max"}) as stack:
        shorten(folder / "app" / "deploy" / "data" / "online_retail.csv.xz")
        map_targets(stack)
        stack.up("worker-1", "worker-2", "archive", "prometheus", "replay")
        stack.wait(lambda: stack.running["replay"].process.poll() == 0, "the end of the replay")
        yield stack


@pytest.fixture(scope="module")
def settings(stack: Composition) -> Settings:
    """Those of a program on this machine: it comes by the address that is published for it."""
    return Settings(
        bootstrap_servers=stack.address("kafka", 29092),
        registry_dir=stack.volume("registry"),
        worker_id="test",
    )


def served(stack: Composition, settings: Settings) -> bool:
    """Whether both workers together have nothing left."""
    found = [status(stack, name) for name in WORKERS]
    held = sorted(number for one in found for number in one["partitions"])
    idle = all(one["lag"] == 0 and not one["accounting"]["in_flight"] for one in found)
    return held == list(range(settings.partitions)) and idle


def test_every_replayed_event_has_a_list_from_one_of_two_workers(
    stack: Composition, settings: Settings
) -> None:
    stack.wait(lambda: served(stack, settings), "lists for all")
    found = [status(stack, name) for name in WORKERS]
    assert all(len(one["partitions"]) == 2 and one["lists"] > 0 for one in found)
    assert all(one["accounting"]["holds"] for one in found)
    events = events_by_id(settings)
    assert len(events) > 5_000
    assert by_event(all_lists(settings)).keys() == events.keys()
    assert sum(one["quality"]["champion"]["total"]["events"] for one in found) > 2_000


def test_a_killed_worker_comes_back_to_its_partitions(stack: Composition, settings: Settings) -> None:
    before = status(stack, "worker-2")["partitions"]
    stack.running["worker-2"].process.kill()
    stack.running["worker-2"].process.wait()
    stack.wait(lambda: stack.running["worker-2"].starts == 2, "its return")
    stack.wait_healthy("worker-2")
    assert status(stack, "worker-2")["partitions"] == before


@pytest.fixture(scope="module")
def retrained(stack: Composition, settings: Settings) -> Composition:
    """Retraining is up, too, and has promoted a version."""
    first = Registry(settings.registry_dir).champion()
    stack.up("retrain")
    stack.wait(lambda: Registry(settings.registry_dir).champion() != first, "a promotion")
    return stack


def test_a_retraining_promotes_and_both_workers_take_it_up(
    retrained: Composition, settings: Settings
) -> None:
    def swapped() -> bool:
        champion = Registry(settings.registry_dir).champion()
        return all(status(retrained, name)["model"] == champion for name in WORKERS)

    retrained.wait(swapped, "the swap")


def test_prometheus_reaches_every_service(retrained: Composition) -> None:
    stack = retrained
    up = {"nextclick-worker": ["up", "up"], "nextclick-retrain": ["up"], "nextclick-archive": ["up"]}
    stack.wait(lambda: up.items() <= targets(stack).items(), f"{up}")
    groups = asked(stack, "prometheus", 9090, "/api/v1/rules")["data"]["groups"]
    assert {rule["type"] for group in groups for rule in group["rules"]} == {"alerting", "recording"}


def test_every_service_is_healthy_by_its_own_check(retrained: Composition) -> None:
    stack = retrained
    checked = [
        name
        for name, service in stack.services.items()
        if name in stack.running and "test" in service["healthcheck"]
    ]
    assert sorted(checked) == ["archive", "kafka", "prometheus", "retrain", *WORKERS]
    for name in checked:
        stack.wait_healthy(name)


def test_services_end_within_their_grace_and_the_archive_holds_every_event(
    retrained: Composition, settings: Settings
) -> None:
    stack = retrained
    log = logged(settings)
    stack.wait(lambda: served(stack, settings), "the end of the work")
    assert [stack.stop(name) for name in ("archive", *WORKERS, "prometheus")] == [0, 0, 0, 0]
    stack.stop("retrain")
    assert archived(stack.volume("archive")) == log
    # Kafka ends as by `kafka.sh stop`: a Java program that SIGTERM ends says so.
    assert stack.stop("kafka") == 143


def test_the_programs_of_this_machine_are_there() -> None:
    for name in ("java", "prometheus", "wget"):
        assert shutil.which(name), f"{name} is not installed: {ROOT / 'tests' / 'run'} installs it"
