"""deploy/alertmanager: who hears of which alert. A real Alertmanager tells the example receiver."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from replay.end_to_end.worker_process import free_port
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "alertmanager"
CONFIG = FOLDER / "alertmanager.yml"
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DEADLINE_S = 240


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"no {name}: use ./tests/run, or install Debian's package prometheus-alertmanager")
    return found


def amtool(*arguments: str) -> str:
    ended = subprocess.run(
        [program("amtool"), *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def alert_names() -> set[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


@pytest.mark.prometheus
def test_the_configuration_is_valid_and_severity_says_who_hears() -> None:
    assert "SUCCESS" in amtool("check-config", str(CONFIG))
    for severity, receiver in (
        ("critical", "on-call"),
        ("warning", "working-hours"),
        ("odd", "working-hours"),
    ):
        labels = ["alertname=NextclickX", f"severity={severity}"]
        assert amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels).strip() == receiver


def test_what_is_kept_quiet_beside_another_alert_are_alerts_that_there_are() -> None:
    matchers = [
        matcher
        for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
    ]
    for matcher in matchers:
        names = matcher.split("=", 1)[1].strip('~"')
        head, _, rest = names.partition("(")
        parts = rest.rstrip(")").split("|") if rest else [""]
        assert {head + part for part in parts} <= alert_names(), matcher


def test_the_addition_to_compose_fulfils_its_specification_and_names_files_that_there_are() -> None:
    addition = yaml.safe_load((ROOT / "deploy" / "compose" / "alertmanager.yaml").read_text())
    schema = Draft202012Validator(
        yaml.safe_load((ROOT / "tests" / "schemas" / "compose-spec.json").read_text())
    )
    assert [error.message for error in schema.iter_errors(addition)] == []
    services = addition["services"]
    mounted = [volume.split(":") for service in services.values() for volume in service.get("volumes", [])]
    places = [path for path, *_ in mounted if path.startswith("./")]
    assert len(places) == 2
    # Paths are of the first file's folder.
    assert all((ROOT / "deploy" / path).exists() for path in places)
    # Prometheus names whom it tells only where this is added.
    shipped = ROOT / "deploy" / "prometheus" / "targets" / "alertmanager.yml"
    assert yaml.safe_load(shipped.read_text()) == []
    named = yaml.safe_load((FOLDER / "targets.yml").read_text())
    assert named == [{"targets": ["alertmanager:9093"]}]
    assert f"http://alert-receiver:{services['alert-receiver']['expose'][0]}/" in CONFIG.read_text()


@contextmanager
def running(*command: str, address: str, said: Path) -> Iterator[None]:
    with (
        said.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            wait_for(lambda: answers(address) or process.poll() is not None, f"{command[0]}: {said}")
            assert process.poll() is None, said.read_text()
            yield
        finally:
            process.terminate()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.mark.prometheus
def test_a_real_alertmanager_tells_the_receivers_and_not_what_follows_from_another_alert(
    tmp_path: Path,
) -> None:
    hears, manages = free_port(), free_port()
    config = yaml.safe_load(CONFIG.read_text().replace("alert-receiver:9095", f"127.0.0.1:{hears}"))
    for route in (config["route"], *config["route"]["routes"]):
        route["group_wait"] = "1s"
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    heard = tmp_path / "heard.txt"
    receiver = (
        sys.executable,
        str(FOLDER / "receiver.py"),
        f"127.0.0.1:{hears}",
        "https://git.example.com/n/",
    )
    manager = (
        program("prometheus-alertmanager"),
        f"--config.file={tmp_path / 'alertmanager.yml'}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{manages}",
        "--cluster.listen-address=",
    )
    alerts = [
        ("NextclickBrokersUnreachable", "critical"),
        # It follows from the first, of the same worker.
        ("NextclickListsWait", "critical"),
        ("NextclickModelStale", "warning"),
    ]
    body = [
        {
            "labels": {"alertname": name, "severity": severity, "instance": "w1"},
            "annotations": {
                "summary": f"{name} of w1",
                "runbook": f"deploy/docs/runbook.md#{name.lower()}",
            },
        }
        for name, severity in alerts
    ]
    with (
        running(*receiver, address=f"http://127.0.0.1:{hears}/", said=heard),
        running(*manager, address=f"http://127.0.0.1:{manages}/-/ready", said=tmp_path / "manager.txt"),
    ):
        request = urllib.request.Request(
            f"http://127.0.0.1:{manages}/api/v2/alerts",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()
        wait_for(lambda: len(heard.read_text().splitlines()) >= 2, "two notifications")
        with urllib.request.urlopen(f"http://127.0.0.1:{manages}/api/v2/alerts", timeout=60) as answer:
            states = {alert["labels"]["alertname"]: alert["status"]["state"] for alert in json.load(answer)}
    row = "https://git.example.com/n/deploy/docs/runbook.md"
    assert sorted(heard.read_text().splitlines()) == [
        "on-call firing critical NextclickBrokersUnreachable: NextclickBrokersUnreachable of w1 "
        f"({row}#nextclickbrokersunreachable)",
        "working-hours firing warning NextclickModelStale: NextclickModelStale of w1 "
        f"({row}#nextclickmodelstale)",
    ]
    assert states["NextclickListsWait"] == "suppressed"
