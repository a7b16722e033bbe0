import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from model.errors import NextclickError
from replay.end_to_end.worker_process import free_port
from stream.metrics_server import serve_metrics, write_metrics
from stream.retraining.metrics import OUTCOMES, RetrainMetrics
from stream.settings import Settings

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
BEGIN_S = 1_767_225_600


def report(root: Path, hour: int, outcome: str, **fields: Any) -> None:
    """A report as a run leaves it, of a run that began in that hour of 2026-01-01."""
    folder = root / "reports" / f"20260101T{hour:02}0000123Z"
    folder.mkdir(parents=True)
    content = {
        "outcome": outcome,
        "seconds": {"read": 1.5, "train": 20.0},
        "events": 1000,
        "rejected": {"schema": 3, "future": 1},
        "items": 50,
        "new_items": 5,
        "training_events": 900,
        "training_events_per_s": 45.0,
        "peak_memory_bytes": 1 << 30,
        "decision": None,
        **fields,
    }
    (folder / "report.json").write_text(json.dumps(content))


def parsed(text: str) -> Samples:
    return {
        (sample.name.removeprefix("nextclick_retrain_"), tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(metrics: RetrainMetrics) -> Samples:
    registry = CollectorRegistry()
    registry.register(metrics)
    return parsed(generate_latest(registry).decode())


def test_before_the_first_run_everything_counts_zero(tmp_path: Path) -> None:
    series = told(RetrainMetrics(tmp_path))
    assert {series["runs_total", (("outcome", outcome),)] for outcome in OUTCOMES} == {0}
    assert series["failures_total", ()] == series["running", ()] == 0
    for name in ("success", "accepted", "failure"):
        assert series[f"last_{name}_timestamp_seconds", ()] == 0


def test_runs_are_counted_once_and_a_restart_forgets_none(tmp_path: Path) -> None:
    metrics = RetrainMetrics(tmp_path)
    report(tmp_path, 1, "accepted")
    report(tmp_path, 2, "failed")
    told(metrics)
    report(tmp_path, 3, "refused")
    (tmp_path / "reports" / ".unfinished-20260101T040000000Z").mkdir()
    for series in (told(metrics), told(metrics), told(RetrainMetrics(tmp_path))):
        assert [series["runs_total", (("outcome", o),)] for o in OUTCOMES] == [1, 1, 1]
        assert series["failures_total", ()] == 1
        assert series["last_accepted_timestamp_seconds", ()] == BEGIN_S + 3_600.123
        assert series["last_failure_timestamp_seconds", ()] == BEGIN_S + 7_200.123
        assert series["last_success_timestamp_seconds", ()] == BEGIN_S + 10_800.123
        assert series["duration_seconds", (("step", "train"),)] == 20
        assert series["duration_seconds", (("step", "announce"),)] == 0
        assert series["rejected_events", ()] == 4


def test_records_that_are_left_out_by_design_are_no_rejected_ones(tmp_path: Path) -> None:
    # A report of before counts them as it did.
    report(tmp_path, 1, "accepted", rejected={"other_kind": 7})
    series = told(RetrainMetrics(tmp_path))
    assert (series["rejected_events", ()], series["left_out_events", ()]) == (7, 0)
    report(tmp_path, 2, "accepted", left_out={"other_kind": 70, "no_item": 2})
    series = told(RetrainMetrics(tmp_path))
    assert (series["rejected_events", ()], series["left_out_events", ()]) == (4, 72)


def test_a_failure_without_a_report_is_counted_by_its_process_and_one_with_a_report_once(
    tmp_path: Path,
) -> None:
    metrics = RetrainMetrics(tmp_path)
    # The registry cannot be written: there is no report.
    metrics.add_failure(BEGIN_S)
    metrics.add_failure(BEGIN_S + 60)
    series = told(metrics)
    assert series["failures_total", ()] == 2
    assert series["last_failure_timestamp_seconds", ()] == BEGIN_S + 60
    assert series["last_success_timestamp_seconds", ()] == 0
    # It can be again, and the next run fails with a report, begun just after this process noted the time.
    report(tmp_path, 1, "failed")
    metrics.add_failure(BEGIN_S + 3_600.1234)
    series = told(metrics)
    assert series["failures_total", ()] == 3
    assert series["last_failure_timestamp_seconds", ()] == BEGIN_S + 3_600.123


def test_what_the_gate_found_stays_until_it_finds_anew_under_names_that_are_fixed(tmp_path: Path) -> None:
    standings = [
        {"name": name, "recall": {"mean": mean}, "mrr": {"mean": mean / 2}}
        for name, mean in (("challenger", 0.5), ("champion", 0.4), ("POP", 0.1), ("v-of-somebody", 0.9))
    ]
    report(tmp_path, 1, "accepted", decision={"standings": standings})
    report(tmp_path, 2, "refused", decision={"standings": []}, events=0)
    series = told(RetrainMetrics(tmp_path))
    assert series["recall_at_20", (("system", "champion"),)] == 0.4
    assert series["mrr_at_20", (("system", "pop"),)] == 0.05
    assert not any("v-of-somebody" in str(labels) for _, labels in series)
    assert series["events", ()] == 0


@pytest.mark.parametrize("content", ["{", "[]", "", '{"outcome": "odd"}', '{"outcome": "failed"}'])
def test_a_report_that_cannot_be_read_is_said_and_counts_for_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    report(tmp_path, 1, "accepted")
    damaged = tmp_path / "reports" / "20260101T020000123Z" / "report.json"
    damaged.parent.mkdir()
    damaged.write_text(content)
    metrics = RetrainMetrics(tmp_path)
    for _ in range(2):
        series = told(metrics)
        assert [series["runs_total", (("outcome", o),)] for o in OUTCOMES] == [1, 0, 0]
    assert caplog.text.count(f"{damaged} cannot be read") == 1


def test_a_file_is_written_whole_and_says_the_same_as_a_scrape(tmp_path: Path) -> None:
    report(tmp_path, 1, "failed")
    metrics, path = RetrainMetrics(tmp_path), tmp_path / "retrain.prom"
    path.write_text("what was there before\n")
    write_metrics(path, metrics)
    assert parsed(path.read_text()) == told(metrics)
    assert [found.name for found in tmp_path.glob("*.prom*")] == ["retrain.prom"]
    with pytest.raises(NextclickError, match="no-such-folder"):
        write_metrics(tmp_path / "no-such-folder" / "retrain.prom", metrics)


def test_a_port_that_is_taken_is_named_and_without_one_nothing_is_served(tmp_path: Path) -> None:
    metrics = RetrainMetrics(tmp_path)
    with serve_metrics(Settings(), metrics):
        pass
    settings = Settings(metrics_port=free_port())
    with (
        serve_metrics(settings, metrics),
        pytest.raises(NextclickError, match=f"127.0.0.1:{settings.metrics_port}"),
        serve_metrics(settings, metrics),
    ):
        pass
    with serve_metrics(settings, metrics):
        pass
