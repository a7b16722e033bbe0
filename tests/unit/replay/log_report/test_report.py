import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from matplotlib import image
from typer.testing import CliRunner

import nextclick
from model.errors import NextclickError
from replay.log_report.report import LogReport, gini, report_on, zipf
from replay.log_report.session_sample import SessionSample, hashes
from replay.log_report.survey import DistinctSketch
from replay.log_report.warnings import warnings_of
from tests.harness.markov_shoppers import markov_shoppers

DAY_MS = 86_400_000
BEGIN_MS = 1_600_000_000_000 // DAY_MS * DAY_MS
BUNDLED = Path(__file__).parents[4] / "deploy" / "data" / "online_retail.csv.xz"


def file_of(frame: pd.DataFrame, path: Path) -> Path:
    """The frame as a file of Globo's columns."""
    frame = frame.rename(columns={"event_time_ms": "timestamp_ms"})
    if "user_id" not in frame:
        frame = frame.assign(user_id=frame["session_id"])
    frame.to_csv(path, index=False, columns=["timestamp_ms", "session_id", "user_id", "item_id"])
    return path


def walks(sessions: int = 400, seed: int = 0) -> pd.DataFrame:
    """A log without faults: irregular gaps, one-click sessions, repeats, items not numbered by popularity."""
    rng = np.random.default_rng(seed)
    rows = []
    for session in range(sessions):
        item, time_ms = int(rng.integers(60)), BEGIN_MS + int(rng.integers(6 * DAY_MS))
        for _ in range(int(rng.geometric(0.3))):
            rows.append((f"s{session}", f"i{item * 37 % 60}", time_ms))
            item = (item * 7 + 1) % 60 if rng.random() < 0.9 else item
            time_ms += int(rng.integers(5_000, 90_000))
    frame = pd.DataFrame(rows, columns=["session_id", "item_id", "event_time_ms"])
    return frame.sort_values("event_time_ms", kind="stable", ignore_index=True)


def names_of(report: LogReport) -> set[str]:
    return {warning.name for warning in warnings_of(report)}


def test_the_figures_are_those_of_a_log_counted_by_hand(tmp_path: Path) -> None:
    rows = [
        ("a", "x", 0), ("b", "y", 10), ("a", "y", 1_000), ("a", "x", 3_000),
        ("b", "y", 4_010), ("c", "z", 2 * DAY_MS), ("b", "y", 4_010),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["session_id", "item_id", "event_time_ms"])
    frame["event_time_ms"] += BEGIN_MS
    frame["user_id"] = ["u", "v", "u", "u", "", "w", "v"]
    report = report_on([file_of(frame, tmp_path / "log.csv")])
    assert (report.events, report.kinds, report.users) == (7, {"view": 7}, 3)
    assert (report.first_ms, report.last_ms, report.step_ms) == (BEGIN_MS, BEGIN_MS + 2 * DAY_MS, 10)
    assert list(report.days.values()) == [6, 0, 1]
    assert report.hours_of_day == [7] + [0] * 23
    assert report.backward_rows == pytest.approx(1 / 6)
    assert report.missing == {"user_id": pytest.approx(1 / 7)}
    assert report.counts.tolist() == [4, 2, 1]
    assert report.items.items == 3
    assert report.items.seen_once == 1
    assert list(report.items.new_by_day.values()) == [2, 1]
    sessions = report.sessions
    assert (sessions.sampled, sessions.one_in, sessions.sampled_events) == (3, 1, 7)
    assert sessions.lengths_counted == {1: 1, 3: 2}
    assert sessions.one_click == pytest.approx(1 / 3)
    assert sorted(sessions.gaps_ms.tolist()) == [0, 1_000, 2_000, 4_000]
    assert sorted(sessions.final_gaps_ms.tolist()) == [0, 2_000]
    assert sessions.repeated_events == pytest.approx(3 / 7)
    assert sessions.immediate_repeats == pytest.approx(2 / 4)
    assert sessions.duplicates == pytest.approx(1 / 7)
    assert sessions.equal_times == pytest.approx(1 / 4)
    assert sessions.durations_s.maximum == 4


def test_a_log_without_faults_is_not_warned_of(tmp_path: Path) -> None:
    assert names_of(report_on([file_of(walks(), tmp_path / "log.csv")])) <= {"sessions astride the split"}


def last_of_sessions(frame: pd.DataFrame) -> "pd.Series[bool]":
    return ~frame.duplicated("session_id", keep="last") & frame.duplicated("session_id", keep="first")


def with_constant_final_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    before = frame.groupby("session_id")["event_time_ms"].shift()
    final = last_of_sessions(frame)
    return frame.assign(event_time_ms=frame["event_time_ms"].where(~final, before + 30_000).astype(int))


def with_shuffled_times(frame: pd.DataFrame) -> pd.DataFrame:
    order = np.random.default_rng(1).permutation(len(frame))
    shuffled = frame.iloc[order].sort_values("session_id", kind="stable")
    times = frame.sort_values("session_id", kind="stable")["event_time_ms"].to_numpy()
    return shuffled.assign(event_time_ms=times)


def numbered_by_popularity(frame: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return frame.assign(item_id=np.minimum(rng.zipf(1.3, len(frame)), 150))


def twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame[:20]])


CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "constant final gaps": with_constant_final_gaps,
    "order without information": with_shuffled_times,
    "shuffled rows": lambda frame: frame.sample(frac=1, random_state=3),
    "equal times": lambda frame: frame.assign(
        event_time_ms=frame.groupby("session_id")["event_time_ms"].transform("min")
    ),
    "coarse times": lambda frame: frame.assign(event_time_ms=frame["event_time_ms"] // DAY_MS * DAY_MS),
    "one-click sessions": lambda frame: frame.assign(session_id=np.arange(len(frame)) // 1.2),
    "no one-click sessions": lambda frame: frame[frame.duplicated("session_id", keep=False)],
    "no repeated items": lambda frame: frame.drop_duplicates(["session_id", "item_id"]),
    "duplicated events": twice,
    "ids tell popularity": numbered_by_popularity,
    "sessions of days": lambda frame: frame.assign(session_id=np.arange(len(frame)) % 120),
    "very long sessions": lambda frame: frame.assign(
        session_id=frame["session_id"].where(np.arange(len(frame)) > 300, "bot")
    ),
    "days without events": lambda frame: frame[(frame["event_time_ms"] - BEGIN_MS) // DAY_MS != 3],
    "stragglers": lambda frame: pd.concat(
        [frame, frame[:1].assign(event_time_ms=BEGIN_MS + 20 * DAY_MS)], ignore_index=True
    ),
    "young items": lambda frame: frame.assign(
        item_id=frame["item_id"] + "-" + (frame["event_time_ms"] // DAY_MS).astype(str)
    ),
    "items seen once": lambda frame: frame.assign(item_id=np.arange(len(frame))),
    "long silence within sessions": lambda frame: frame.assign(
        event_time_ms=frame["event_time_ms"] + 7_200_000 * last_of_sessions(frame)
    ),
    "times near 1970": lambda frame: frame.assign(event_time_ms=frame["event_time_ms"] // 1000),
    "missing user_id": lambda frame: frame.assign(user_id=""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_fault_is_warned_of_and_not_without_it(name: str, tmp_path: Path) -> None:
    faulty = CHANGES[name](walks(2_000))
    assert name in names_of(report_on([file_of(faulty, tmp_path / "faulty.csv")]))
    assert name not in names_of(report_on([file_of(walks(2_000), tmp_path / "log.csv")]))


def test_a_test_log_within_the_training_is_warned_of(tmp_path: Path) -> None:
    frame = walks()
    later = walks(seed=9).assign(session_id=lambda f: "t" + f["session_id"])
    later["event_time_ms"] += 10 * DAY_MS
    log, test = (file_of(rows, tmp_path / name) for rows, name in ((frame, "log.csv"), (later, "test.csv")))
    names = {"test within training", "test before the end of training"}
    apart = report_on([log], test=[test])
    assert not names & names_of(apart)
    within = report_on([log], test=[file_of(frame[-100:], tmp_path / "part.csv")])
    assert names <= names_of(within)
    assert within.contained is not None
    assert within.contained.events == 1


def test_dirt_is_told_by_kind_and_a_cut_off_file_too(tmp_path: Path) -> None:
    path = file_of(walks(), tmp_path / "log.csv")
    whole = path.read_text()
    path.write_text(whole + "yesterday,s,u,i\n" * 3 + "1600000000000,s,u,\n" + "160000")
    report = report_on([path])
    assert report.rejects == {
        "timestamp_ms is no number": 3, "item_id is empty": 1, "wrong number of fields": 1
    }  # fmt: skip
    path.write_text(whole + "yesterday,s,u,i\n")
    with pytest.raises(NextclickError, match="timestamp_ms is no number"):
        report_on([path], on_error="stop")


def test_an_empty_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match="no events"):
        report_on([file_of(walks()[:0], tmp_path / "log.csv")])


def test_a_sample_has_whole_sessions_and_its_figures_are_near(tmp_path: Path) -> None:
    log = file_of(walks(4_000), tmp_path / "log.csv")
    whole, part = report_on([log]), report_on([log], kept_events=3_000)
    assert part.sessions.one_in in (4, 8)
    assert part.sessions.sampled_events <= 3_000
    # Of whole sessions: those sampled have all their events.
    counted = sum(length * count for length, count in part.sessions.lengths_counted.items())
    assert counted == part.sessions.sampled_events
    assert part.sessions.estimated == pytest.approx(whole.sessions.estimated, rel=0.15)
    assert part.sessions.lengths.mean == pytest.approx(whole.sessions.lengths.mean, rel=0.1)
    assert part.sessions.one_click == pytest.approx(whole.sessions.one_click, abs=0.05)
    # What is no figure of sessions stays exact.
    for exact in ("events", "first_ms", "step_ms", "hours", "rejects"):
        assert getattr(part, exact) == getattr(whole, exact)
    assert part.counts.tolist() == whole.counts.tolist()
    assert part.as_dict()["exact"]["sessions, lengths, gaps, repeats, order, ages"] is False


@hypothesis_settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(5, 60), st.integers(1, 7))
def test_the_sample_does_not_depend_on_how_the_log_is_cut(
    lengths: list[int], kept_events: int, pieces: int
) -> None:
    ids = [f"s{number}" for number, length in enumerate(lengths) for _ in range(length)]
    frame = pd.DataFrame({"session_id": ids, "item_id": "i", "kind": "view"})
    frame["event_time_ms"] = np.arange(len(frame))
    sample = SessionSample(kept_events)
    for part in np.array_split(np.arange(len(frame)), pieces):
        rows = frame.iloc[part]
        sample.add(rows, hashes(rows["session_id"]), hashes(rows["item_id"]))
    kept = sample.rows()
    assert len(kept) <= kept_events
    names = hashes(frame["session_id"])
    inside = np.isin(names, kept["session"])
    assert kept["row"].tolist() == np.flatnonzero(inside).tolist()


def test_users_are_counted_exactly_first_and_closely_then() -> None:
    sketch = DistinctSketch()
    numbers = pd.Series(np.arange(60_000).astype(str))
    sketch.add(np.unique(hashes(numbers)))
    sketch.add(np.unique(hashes(numbers[:1_000])))
    assert (sketch.count(), sketch.exact) == (60_000, True)
    for start in range(60_000, 400_000, 20_000):
        sketch.add(np.unique(hashes(pd.Series(np.arange(start, start + 20_000).astype(str)))))
    assert not sketch.exact
    assert sketch.count() == pytest.approx(400_000, rel=0.02)


def test_gini_and_zipf_of_known_shapes() -> None:
    assert gini(np.full(50, 7)) == pytest.approx(0)
    assert gini(np.array([100] + [0] * 99)) == pytest.approx(0.99)
    assert zipf((1e9 / np.arange(1, 2_001) ** 1.2).astype(np.int64)) == pytest.approx(1.2, abs=0.001)
    assert zipf(np.ones(50, np.int64)) is None


def test_the_command_shows_a_table_json_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    arguments = ["data", "report", str(BUNDLED), "--plot", str(picture)]
    shown = CliRunner().invoke(nextclick.app, arguments, env={"COLUMNS": "140"})
    assert shown.exit_code == 0, shown.output
    assert "equal times" in shown.stdout
    assert "coarse times" in shown.stdout
    assert "return" in shown.stdout
    height, width, _ = image.imread(picture).shape
    assert (height, width) == (880, 1650)
    answer = CliRunner().invoke(nextclick.app, [*arguments[:3], "--json"])
    told: dict[str, Any] = json.loads(answer.stdout)
    assert told["events"] == sum(told["events_by_day"].values()) == sum(told["events_by_hour_of_day"])
    assert told["rejects"]["return"] > 0
    assert {"equal times", "coarse times"} <= {warning["name"] for warning in told["warnings"]}


def test_the_traps_of_the_real_logs_are_found(shared_data: Path, tmp_path: Path) -> None:
    import lzma

    with lzma.open(shared_data / "globo" / "clicks.csv.xz") as file:
        (tmp_path / "globo.csv").write_bytes(b"".join(file.readline() for _ in range(150_001)))
    globo = names_of(report_on([tmp_path / "globo.csv"]))
    assert {"constant final gaps", "no repeated items"} <= globo
    kaggle = report_on([shared_data / "rees46" / "2019-Oct-first-17k.csv"])
    assert kaggle.rejects == {"duplicate": 5, "wrong number of fields": 1}
    assert {"duplicated events", "missing brand", "missing category"} <= names_of(kaggle)


def test_shuffling_the_order_of_real_walks_is_noticed(tmp_path: Path) -> None:
    log = markov_shoppers(sessions=1_500, items=120, seed=5).frame
    assert "order without information" not in names_of(report_on([file_of(log, tmp_path / "a.csv")]))
    order = np.random.default_rng(0).random(len(log))
    mixed = log.assign(key=order).sort_values(["session_id", "key"])
    mixed["event_time_ms"] = log.sort_values("session_id", kind="stable")["event_time_ms"].to_numpy()
    assert "order without information" in names_of(report_on([file_of(mixed, tmp_path / "b.csv")]))
