"""Every benchmark that the results pages name runs to its end, on a log of a few hundred sessions.

What it prints is looked at for its figures' names only: a rate of so small a log means nothing.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deploy.benchmarks.measure import process
from deploy.benchmarks.newcomer import commands_of_readme
from replay.commands.bench import BENCHMARKS
from tests.conftest import ROOT
from tests.harness.markov_shoppers import markov_shoppers

FOLDER = ROOT / "deploy" / "benchmarks"
# Said of the machine, not of the benchmark: then a larger run shows what this one could not.
TOO_QUICK = re.compile(r"the lists were (seen to grow|looked at)|versions never served")
# Name → arguments, and figures that it prints. LOG is the log, N a size that grows where TOO_QUICK is said.
KAFKA = {
    "stream": ("LOG --events N --wave-size 1 --hidden-size 8 --series SERIES", "worker_events_per_s ratio"),
    "workers": ("LOG --events N --network pop --workers 1", "events_per_s speed_up"),
    "recovery": ("--sessions N --events 1 --items 50", "restart lost_disk ratio_to_plain_reading"),
    "latency": (
        "LOG --rate 50 --seconds 1 --warm-up-s .5 --hidden-size 8",
        "worker_ms kafka_alone_before_ms kafka_alone_after_ms",
    ),
    "abuse": (
        "LOG --rate 50 --seconds 1 --warm-up-s .5 --hidden-size 8 --heads 5",
        "calm_before attacked calm_after",
    ),
    "ask": (
        "LOG --requests 40 --rate 40 --changes 20 --seconds 2 --warm-up-s .5 --hidden-size 8",
        "answer_ms recommendations_ms placement_ms rank_ms statuses lists_checked sold_items_listed "
        "event_to_list_ms",
    ),
    "swap": ("LOG --rate 50 --swaps 1 --every-s SECONDS --warm-up-s .1 --hidden-size 8", "swap_ms normal_ms"),
    "gap": (
        "--faults none kill crash restart pause --pause-s 2 --partitions 2 --rate 20 "
        "--session-timeout-ms 10000",
        "none kill crash restart pause session_timeout_ms",
    ),
    "endurance": (
        "LOG --rate 100 --seconds 3 --sample-every-s .5 --hidden-size 8 --plot PLOT",
        "delay_ms accounting exit_code",
    ),
    "replay": (
        "--events 500 --rounds 1 --gigabytes .0001 --pace-seconds .5 --speed 600",
        "read_and_ordered beside_the_peer pace_error_ms",
    ),
}
ALONE = {
    "scoring": ("--items 300 --waves 2 --scorings exact --lists 64 --seconds .01 --hidden-size 8", "results"),
    "scale": ("--simulated-partitions 0", "lines"),
    "train": ("--items 60 --events 400 --negatives 16 --hidden-size 8", "training_events_per_s"),
    "gpu": (
        "--device cpu --items 300 --waves 2 --trainings gru4rec --training-items 60 --training-events 600 "
        "--hidden-size 8 --seconds .01 --square 64 --unchecked --output PLOT",
        "peak training steps",
    ),
    "items": (
        "--items 3000 --changes 2000 --known 500",
        "items memory_mb memory_after_changes_mb memory_at_peak_mb loaded_per_s changes_per_s "
        "longest_batch_s ratio_to_reading search_s wrong",
    ),
    "decoding": ("--events 500 --rounds 3 --worker-us 10000", "core_us bytes share_of_worker goal"),
    "networks": ("--models pop --items 60 --events 200 --seconds .01", "items pop"),
}
# With brokers of its own.
NEWCOMER = {"newcomer": ("--events 1500 --timeout-s 600", "three_commands up_file up_topic")}
CHROMIUM = {
    "page": (
        "LOG --events N --pages 1 --rounds 1 --clicks 1 --loads 1",
        "first_paint_ms click_to_list_ms core_time_more_percent",
    )
}
# These run beside other tests. The others take the whole machine, and have to be given it.
BESIDE_OTHERS = {"recovery", "replay"}
BY_HAND = pytest.mark.skipif(
    "NEXTCLICK_TEST_BENCHMARKS" not in os.environ,
    reason="wants the machine for itself: set NEXTCLICK_TEST_BENCHMARKS (deploy/docs/developing.md)",
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log, as a file."""
    frame = markov_shoppers(sessions=400, items=50, seed=3).frame
    columns = {"session_id": "SessionId", "item_id": "ItemId", "event_time_ms": "Time"}
    frame = frame.sort_values("event_time_ms").rename(columns=columns)[list(columns.values())]
    frame["Time"] //= 1000
    path = tmp_path_factory.mktemp("log") / "clicks.txt"
    frame.to_csv(path, sep="\t", index=False)
    return path


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a benchmark sets for its process is undone."""
    # As often as the worker answers one client.
    monkeypatch.setattr(process, "LOOK_EVERY_S", 0.02)
    # A wave of each event, so that a short backlog lasts long enough to be looked at.
    monkeypatch.setenv("NEXTCLICK_WAVE_SIZE", "1")
    ends, switch_s, threads = (
        signal.getsignal(signal.SIGTERM),
        sys.getswitchinterval(),
        torch.get_num_threads(),
    )
    yield
    signal.signal(signal.SIGTERM, ends)
    sys.setswitchinterval(switch_s)
    torch.set_num_threads(threads)


def run(path: Path, arguments: list[str]) -> int:
    """Run a program as `nextclick bench` does. Returns its exit code."""
    sys.argv[:] = [path.stem, *arguments]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def figures_of(
    name: str, arguments: str, log: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> dict[str, Any]:
    """What `nextclick bench NAME --json` prints, of a run large enough for the machine."""
    for attempt in range(7):
        values = {
            "LOG": str(log), "N": str(1200 * 2 ** min(attempt, 3)), "SECONDS": str(2**attempt),
            "SERIES": str(folder / "series.json"), "PLOT": str(folder / "plot.png"),
        }  # fmt: skip
        before = list(sys.argv)
        try:
            code = run(FOLDER / f"{name}.py", [*(values.get(a, a) for a in arguments.split()), "--json"])
        except Exception as error:
            if TOO_QUICK.search(str(error)) and attempt < 6:
                continue
            raise
        finally:
            sys.argv[:] = before
        printed = capsys.readouterr()
        assert code == 0, printed.err
        found: dict[str, Any] = json.loads(printed.out.splitlines()[-1])
        return found
    raise AssertionError("never comes here")


def test_each_benchmark_and_each_program_of_a_results_page_is_run_here() -> None:
    """None is added without a run of it."""
    assert {*KAFKA, *ALONE, *NEWCOMER, *CHROMIUM} == set(BENCHMARKS)
    pages = "\n".join(page.read_text() for page in (ROOT / "deploy" / "results").glob("*.md"))
    assert set(re.findall(r"nextclick bench ([a-z_]+)", pages)) <= set(BENCHMARKS)
    # One page quotes a program of an earlier commit, and says so.
    programs = set(re.findall(r"deploy/benchmarks/([a-z_]+)\.py", pages)) - {"freshness"}
    assert programs <= {"caps", "following", "memory", "open_sessions", "rolling_quality"} | set(BENCHMARKS)


@pytest.mark.parametrize("name", ALONE)
def test_a_benchmark_without_a_broker_ends_with_its_figures(
    name: str, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`nextclick bench NAME`."""
    arguments, figures = ALONE[name]
    assert figures_of(name, arguments, log, tmp_path, capsys).keys() >= set(figures.split())


@pytest.mark.kafka
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in BESIDE_OTHERS else BY_HAND) for name in KAFKA]
)
def test_a_benchmark_beside_kafka_ends_with_its_figures(
    name: str, kafka: str, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`nextclick bench NAME`, on the broker that the tests share."""
    arguments, figures = KAFKA[name]
    found = figures_of(name, f"{arguments} --bootstrap-servers {kafka}", log, tmp_path, capsys)
    assert found.keys() >= set(figures.split())
    if name == "recovery":
        assert found["lost_disk"]["sessions_in_store"] == found["sessions"]
    if name == "stream":
        assert found["accounting"]["holds"]
        series, picture = tmp_path / "series.json", tmp_path / "open.png"
        options = [str(log), "--series", str(series), "--output", str(picture)]
        assert run(FOLDER / "open_sessions.py", options) == 0
        assert picture.stat().st_size


def test_the_readme_has_the_commands_that_the_benchmark_of_a_newcomer_types() -> None:
    of_file, up_topic, up_file = commands_of_readme()
    assert [command.split()[:2] for command in [*of_file, up_topic, up_file]] == [
        ["nextclick", name] for name in ("data", "train", "recommend", "up", "up")
    ]


@BY_HAND
@pytest.mark.kafka
def test_the_benchmark_of_a_newcomer_comes_to_lists_from_a_file_and_from_a_topic(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`nextclick bench newcomer`: so few events meet its goal of two minutes on a loaded machine, too."""
    arguments, figures = NEWCOMER["newcomer"]
    found = figures_of("newcomer", arguments, log, tmp_path, capsys)
    assert found.keys() >= set(figures.split())
    assert found["up_file"]["items"] and found["up_topic"]["items"]


@BY_HAND
@pytest.mark.kafka
@pytest.mark.chromium
def test_the_benchmark_of_the_page_ends_with_its_figures(
    kafka: str, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`nextclick bench page`."""
    arguments, figures = CHROMIUM["page"]
    found = figures_of("page", f"{arguments} --bootstrap-servers {kafka}", log, tmp_path, capsys)
    assert found.keys() >= set(figures.split())
