import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.worker.counters import SECONDS

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "prometheus"
# Before the path, where an address is known.
ADDRESS = '{{ with $externalLabels.runbooks }}{{ if match "^https?://" . }}{{ . }}/{{ end }}{{ end }}'
NAMED = {
    "NextclickLagGrowing",
    "NextclickListDelay",
    "NextclickDeadLetters",
    "NextclickIdentityBroken",
    "NextclickRecallBelowPop",
    "NextclickRecallFalling",
    "NextclickModelStale",
    "NextclickRetrainFailing",
    "NextclickStoreGrowing",
    "NextclickWorkerDown",
}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("no promtool: run the tests with ./tests/run, or install Debian's package prometheus")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=600, check=False)


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def cases() -> Iterator[tuple[str, bool, list[str]]]:
    """Of each unit test: the alert, whether it is to fire, and the series that it is given."""
    for path in sorted((FOLDER / "tests").glob("*.yml")):
        for test in yaml.safe_load(path.read_text())["tests"]:
            series = [row["series"] for row in test["input_series"]]
            for case in test["alert_rule_test"]:
                yield case["alertname"], bool(case["exp_alerts"]), series


@pytest.mark.prometheus
def test_the_configuration_and_all_rules_are_valid() -> None:
    ended = promtool("check", "config", "--lint=all", "--lint-fatal", str(FOLDER / "prometheus.yml"))
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.prometheus
def test_every_alert_fires_when_it_should_and_keeps_quiet_when_it_should_not() -> None:
    ended = promtool("test", "rules", *map(str, sorted((FOLDER / "tests").glob("*.yml"))))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_has_a_case_of_each_kind_and_each_case_has_series_of_its_alert() -> None:
    alerts = {rule["alert"]: rule["expr"] for rule in rules("alerts.yml")}
    recorded = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}
    assert alerts.keys() >= NAMED
    for expected in (True, False):
        assert {alert for alert, fires, _ in cases() if fires == expected} == alerts.keys()
    for alert, _, series in cases():
        wanted = alerts[alert]
        for name, expression in recorded.items():
            wanted = re.sub(rf"{re.escape(name)}\b", expression, wanted)
        assert any(row.split("{")[0] in wanted for row in series), alert


def test_every_alert_says_what_it_means_how_urgent_it_is_and_where_to_read_on() -> None:
    for rule in rules("alerts.yml"):
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}, rule["alert"]
        path = f"deploy/docs/runbook.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook"] == ADDRESS + path
        assert rule["for"], rule["alert"]


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("label", "before"),
    [
        ("https://git.example.com/n", "https://git.example.com/n/"),
        # As Prometheus 2 leaves it without its flag: no address, so the path alone.
        ("${RUNBOOKS}", ""),
    ],
)
def test_an_alert_names_the_address_of_its_runbook_where_one_is_known(
    label: str, before: str, tmp_path: Path
) -> None:
    (shipped,) = [rule for rule in rules("alerts.yml") if rule.get("alert") == "NextclickFileHandles"]
    notes = {"runbook": shipped["annotations"]["runbook"]}
    rule = {"alert": "A", "expr": "up == 0", "annotations": notes}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}))
    expected = {"runbook": f"{before}deploy/docs/runbook.md#nextclickfilehandles"}
    case = {
        "interval": "1m",
        "external_labels": {"runbooks": label},
        "input_series": [{"series": 'up{job="j"}', "values": "0 0"}],
        "alert_rule_test": [
            {
                "eval_time": "1m",
                "alertname": "A",
                "exp_alerts": [{"exp_labels": {"job": "j"}, "exp_annotations": expected}],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [case]}))
    ended = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_objective_is_held_to_a_bucket_that_the_histogram_has() -> None:
    text = (FOLDER / "recording.yml").read_text()
    named = set(re.findall(r'nextclick_list_delay_seconds_bucket\{le="([^"]+)"\}', text))
    assert named
    assert named <= {str(float(seconds)) for seconds in SECONDS}
