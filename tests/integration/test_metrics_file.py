import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from model.errors import NextclickError
from nextclick import app
from tests.harness.serving import MakeSettings


def samples(path: Path) -> dict[str, float]:
    """Of series with at most one label: its value behind the name."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


@pytest.mark.kafka
@pytest.mark.prometheus
def test_a_run_by_cron_leaves_its_outcome_in_a_file_whether_it_decided_or_failed(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, path = make_settings(), tmp_path / "retrain.prom"
    command = ["retrain", "--metrics-file", str(path)]
    refused = CliRunner().invoke(app, command, env=settings.environment())
    assert refused.exit_code == 3, refused.output
    after_refusal = samples(path)
    assert after_refusal["nextclick_retrain_runs_total refused"] == 1
    assert after_refusal["nextclick_retrain_last_success_timestamp_seconds"] > 1.7e9
    assert after_refusal["nextclick_retrain_last_failure_timestamp_seconds"] == 0
    (settings.registry_dir / "CHAMPION").write_text("no-such-version\n")
    failed = CliRunner().invoke(app, command, env=settings.environment())
    assert isinstance(failed.exception, NextclickError)
    after_failure = samples(path)
    assert after_failure["nextclick_retrain_runs_total refused"] == 1
    assert after_failure["nextclick_retrain_failures_total"] == 1
    # By which the alert knows that the newest run failed.
    assert (
        after_failure["nextclick_retrain_last_failure_timestamp_seconds"]
        > after_failure["nextclick_retrain_last_success_timestamp_seconds"]
        == after_refusal["nextclick_retrain_last_success_timestamp_seconds"]
    )
    promtool = shutil.which("promtool")
    assert promtool is not None
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=path.read_text(), capture_output=True, text=True, check=False
    )
    assert checked.stdout + checked.stderr == ""
