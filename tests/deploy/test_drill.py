"""deploy/drill without processes: the rules it shortens, what it judges, the table it prints."""

import re
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from deploy.benchmarks.measure.list_account import Served
from deploy.drill import __main__ as program
from deploy.drill.__main__ import FAULTS
from deploy.drill.fault import Fault, Row, nothing_heals
from deploy.drill.results import table
from deploy.drill.short_rules import milliseconds, short_rules, write_short_rules
from model.errors import NextclickError
from tests.conftest import ROOT

SHIPPED = ROOT / "deploy" / "prometheus"
FAULT = Fault("f", "a fault", ("NextclickX",), 120, lambda stage: nullcontext(nothing_heals), gap_limit_s=20)
WELL = Served(events=10, lost=0, repeated=2, changed=0, gaps_s={0: 3.0})


def test_every_fault_names_alerts_that_are_shipped_and_has_a_name_of_its_own() -> None:
    groups = yaml.safe_load((SHIPPED / "alerts.yml").read_text())["groups"]
    shipped = {rule["alert"] for group in groups for rule in group["rules"]}
    assert {alert for fault in FAULTS for alert in fault.alerts} <= shipped
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 12


def test_rules_are_as_shipped_by_factor_one_and_have_all_their_times_divided_by_another() -> None:
    text = (SHIPPED / "alerts.yml").read_text()
    assert short_rules(text, 1, 15_000) == text
    before, after = times_ms(text), times_ms(short_rules(text, 5, 3_000))
    assert len(before) > 100
    assert after == [ms // 5 for ms in before]
    # A range of less than two scrapes would have no rate.
    least = short_rules(text, 1_000, 2_000)
    assert min(milliseconds(found) for found in re.findall(r"\[(\d+ms)", least)) == 4_000


def times_ms(text: str) -> list[int]:
    """Every range, step, offset and `for` of a file of rules, in order."""
    found = []
    for group in yaml.safe_load(text)["groups"]:
        for rule in group["rules"]:
            times = re.findall(r"\[(\w+)(?::(\w+))?\]|offset (\w+)", rule["expr"])
            found += [milliseconds(time) for row in times for time in row if time]
            found.append(milliseconds(rule["for"]))
    return found


@pytest.mark.prometheus
@pytest.mark.parametrize("factor", [1, 5, 30])
def test_shortened_rules_are_valid(factor: int, tmp_path: Path) -> None:
    for name in ("alerts.yml", "recording.yml"):
        shutil.copy(SHIPPED / name, tmp_path)
    write_short_rules(tmp_path, factor, 2_000)
    program = shutil.which("promtool")
    assert program is not None, "no promtool: run the tests with ./tests/run"
    for name in ("alerts.yml", "recording.yml"):
        ended = subprocess.run(
            [program, "check", "rules", str(tmp_path / name)], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_time_that_an_alert_may_take_is_its_own_with_rules_as_shipped() -> None:
    assert FAULT.allowed_s(1) == 120
    # A fifth of the rules' time; sessions and starts are as long as ever.
    assert FAULT.allowed_s(5) == 24 + 48


@pytest.mark.parametrize(
    ("row", "misses"),
    [
        (Row(FAULT, "NextclickX", 90.0, (), WELL), []),
        (Row(FAULT, skipped="no right to mount"), []),
        (Row(FAULT, served=WELL), ["no alert"]),
        (Row(FAULT, "NextclickX", 121.0, (), WELL), ["late: 121 s of 120 s"]),
        (Row(FAULT, "NextclickX", 1.0, (), Served(10, 1, 0, 0, {})), ["1 events without a list"]),
        (
            Row(FAULT, "NextclickX", 1.0, (), Served(10, 0, 0, 2, {})),
            ["2 events with two lists that differ"],
        ),
        (Row(FAULT, "NextclickX", 1.0, (), Served(10, 0, 0, 0, {0: 21.0})), ["gap: 21.0 s of 20 s"]),
    ],
)
def test_what_is_not_as_it_must_be_is_a_miss(row: Row, misses: list[str]) -> None:
    assert row.misses(1, judge_times=True) == misses


def test_times_are_no_miss_where_they_are_not_judged_and_all_else_is() -> None:
    late = Row(FAULT, "NextclickX", 999.0, (), Served(10, 0, 0, 1, {0: 99.0}))
    assert late.misses(1, judge_times=False) == ["1 events with two lists that differ"]


def test_the_table_has_a_row_for_each_fault_with_as_many_cells_as_its_head() -> None:
    rows = [
        Row(FAULT, "NextclickX", 12.4, ("NextclickY",), WELL),
        Row(FAULT, served=WELL),
        Row(FAULT, skipped="no right to mount"),
    ]
    head, _, *lines = table(rows, 1).splitlines()
    assert {line.count("|") for line in lines} == {head.count("|")}
    assert "| a fault | X | 12 | 120 | Y | 10 | 0 | 2 | 0 | 3.0 |" in lines
    assert "| a fault | none | never |" in lines[1]
    assert "not made: no right to mount" in lines[2]


def test_a_drill_that_cannot_go_on_prints_what_it_has_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(fault: Fault, _: object) -> Row:
        if fault.name == "kill":
            raise NextclickError("the broker is gone", "Nothing can be seen.", "Look at it.")
        return Row(fault, fault.alerts[0], 3.0, (), WELL)

    watch = SimpleNamespace(rules_that_fail=dict)
    monkeypatch.setattr(program, "stage", lambda *_: nullcontext(SimpleNamespace(watch=watch)))
    monkeypatch.setattr(program, "run", made)
    assert program.main(["--faults", "pause", "kill", "--quiet-s", "0"]) == 1
    captured = capsys.readouterr()
    assert "| SIGSTOP of a worker for 60 s | WorkerDown | 3 |" in captured.out
    assert "kill: the drill cannot go on: the broker is gone" in captured.err
