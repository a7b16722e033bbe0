"""The examples in deploy/schedule, and the CronJob, say to each scheduler what they mean to say."""

import os
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from croniter import croniter
from typer.testing import CliRunner

from nextclick import app
from replay.commands.retrain import EXIT_REFUSED
from stream.retraining.schedule import Cron, Every
from stream.settings import PREFIX, Settings
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "schedule"
CRON_JOB = ROOT / "deploy" / "kubernetes" / "retrain.yaml"
DAY_MS = 86_400_000


def settings_named(text: str) -> set[str]:
    """The settings that variables in the text set."""
    words = text.replace("Environment=", " ").split()
    return {w.split("=")[0].removeprefix(PREFIX).lower() for w in words if w.startswith(PREFIX)}


def assert_six_hours(schedule: str) -> None:
    cron, every = Cron(schedule), Every("6h")
    for time_ms in range(0, DAY_MS, 3_600_000):
        assert cron.next_after(time_ms) == every.next_after(time_ms)


def assert_a_command(words: list[str]) -> None:
    assert Path(words[0]).name == "nextclick"
    ended = CliRunner().invoke(app, [*words[1:], "--help"])
    assert ended.exit_code == 0
    assert "champion" in ended.output


def test_the_crontab_runs_the_command_every_six_hours() -> None:
    lines = [line for line in (FOLDER / "crontab").read_text().splitlines() if line[:1] not in ("", "#")]
    *variables, job = lines
    assert all("=" in line for line in variables)
    fields = job.split()
    assert_six_hours(" ".join(fields[:5]))
    assert croniter.is_valid(" ".join(fields[:5]))
    assert_a_command(fields[6 : fields.index(next(f for f in fields if f.startswith(">>")))])


def test_the_cron_job_is_one_at_a_time_and_takes_a_refusal_as_final() -> None:
    job: dict[str, Any] = yaml.safe_load(CRON_JOB.read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    spec = job["spec"]
    assert_six_hours(spec["schedule"])
    assert spec["concurrencyPolicy"] == "Forbid"
    template = spec["jobTemplate"]["spec"]
    pod = template["template"]["spec"]
    # What podFailurePolicy asks for.
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    (rule,) = template["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"] == {
        "containerName": container["name"], "operator": "In", "values": [EXIT_REFUSED],
    }  # fmt: skip
    assert_a_command(["nextclick", *container["args"]])


def test_the_units_run_the_command_and_take_a_refusal_as_a_result() -> None:
    units = {}
    for name in ("nextclick-retrain.service", "nextclick-retrain.timer"):
        units[name] = ConfigParser(strict=False, interpolation=None)
        units[name].optionxform = str  # type: ignore[assignment, method-assign]
        units[name].read(FOLDER / name)
    service = units["nextclick-retrain.service"]["Service"]
    assert_a_command(service["ExecStart"].split())
    assert service["Type"] == "oneshot"
    assert service["SuccessExitStatus"] == str(EXIT_REFUSED)
    assert units["nextclick-retrain.timer"]["Timer"]["Persistent"] == "true"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_the_examples_name_settings_that_there_are(name: str) -> None:
    named = settings_named((FOLDER / name).read_text())
    assert named == (set() if name.endswith(".timer") else {"bootstrap_servers", "registry_dir"})
    assert named <= Settings.model_fields.keys()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    # It looks for the program and for the user too: here they are this test's own.
    program = tmp_path / "nextclick"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("nextclick-retrain.service", "nextclick-retrain.timer"):
        text = (FOLDER / name).read_text()
        text = text.replace("/opt/nextclick/bin/nextclick", str(program)).replace("User=nextclick\n", "")
        (tmp_path / name).write_text(text)
    units = [str(tmp_path / name) for name in ("nextclick-retrain.service", "nextclick-retrain.timer")]
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *units],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "nextclick-retrain" not in ended.stderr
