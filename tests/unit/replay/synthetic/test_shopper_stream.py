import json
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import nextclick
from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.log_report.report import report_on
from replay.synthetic.shopper_stream import BLOCK_EVENTS, ShopperStream
from replay.synthetic.shoppers import ShopperSettings
from replay.synthetic.write_file import write_log
from stream.events import decode_event

CALM = ShopperSettings(events=60_000, items=300, rate=20.0, seed=4)
WILD = ShopperSettings(
    events=250_000, items=500, rate=100.0, births=400.0, bots=0.05, late=0.02, late_s=120.0, duplicates=0.01
)


def log_of(settings: ShopperSettings) -> tuple[pd.DataFrame, ShopperStream]:
    stream = ShopperStream(settings)
    return pd.concat(stream.frames(), ignore_index=True), stream


@pytest.fixture(scope="module")
def calm() -> tuple[pd.DataFrame, ShopperStream]:
    return log_of(CALM)


@pytest.fixture(scope="module")
def wild() -> tuple[pd.DataFrame, ShopperStream]:
    return log_of(WILD)


def test_the_same_settings_give_the_same_log_and_another_seed_another() -> None:
    small = ShopperSettings(events=5_000, items=100, bots=0.1, births=1_000.0, late=0.1, duplicates=0.1)
    first, again = log_of(small)[0], log_of(small)[0]
    pd.testing.assert_frame_equal(first, again)
    other = log_of(ShopperSettings(events=5_000, items=100, seed=1))[0]
    assert not first["item_id"].equals(other["item_id"])


def test_the_log_has_the_rate_the_lengths_and_the_gaps_that_were_asked_for(
    calm: tuple[pd.DataFrame, ShopperStream],
) -> None:
    frame, _ = calm
    assert len(frame) == CALM.events
    times_ms = frame["event_time_ms"]
    assert times_ms.is_monotonic_increasing
    assert 1000 * len(frame) / (times_ms.iloc[-1] - times_ms.iloc[0]) == pytest.approx(CALM.rate, rel=0.03)
    by_session = frame.groupby("session_id")["event_time_ms"]
    # Sessions that begin late in the log are cut off by its end.
    begun = by_session.min()
    whole = begun[begun < times_ms.iloc[len(frame) // 4]].index
    assert by_session.size()[whole].mean() == pytest.approx(CALM.mean_length, rel=0.1)
    gaps_ms = by_session.diff().dropna()
    assert gaps_ms.mean() == pytest.approx(1000 * CALM.mean_gap_s, rel=0.1)


def best_items(stream: ShopperStream, item: int) -> list[int]:
    """The best list after an item that is in the catalogue now, as item numbers."""
    (slot,) = np.flatnonzero(stream.item_in_slot == item)
    return [int(stream.item_in_slot[other]) for other in stream.best_slots[slot]]


def test_the_best_lists_have_the_recall_that_is_told_and_nothing_beats_them(
    calm: tuple[pd.DataFrame, ShopperStream],
) -> None:
    frame, stream = calm
    # Told again from the log alone.
    by_session = frame.groupby("session_id", sort=False)["item_id"]
    pairs = pd.DataFrame({"item": frame["item_id"], "next": by_session.shift(-1)}).dropna()
    best = {f"i{item}": {f"i{n}" for n in best_items(stream, item)} for item in range(CALM.items)}
    assert all(len(items) == 20 for items in best.values())
    recall = np.mean([following in best[item] for item, following in pairs.itertuples(index=False)])
    assert recall == pytest.approx(stream.truth.best_recall, abs=0.01)
    assert stream.truth.best_hits / stream.truth.next_events == pytest.approx(recall, abs=0.005)
    assert 0.9 < stream.truth.best_recall < 1
    # The lists are the best: those counted from the very log, held against it, are hardly better.
    counted: dict[str, Counter[str]] = {}
    for item, following in pairs.itertuples(index=False):
        counted.setdefault(item, Counter())[following] += 1
    overfitted = sum(sum(n for _, n in c.most_common(20)) for c in counted.values()) / len(pairs)
    assert recall < overfitted < recall + 0.08
    popular = {item for item, _ in Counter(pairs["next"]).most_common(20)}
    assert pairs["next"].isin(popular).mean() < 0.6 * recall


def test_items_are_born_and_die(wild: tuple[pd.DataFrame, ShopperStream]) -> None:
    frame, stream = wild
    hours = (frame["event_time_ms"].max() - frame["event_time_ms"].min()) / 3_600_000
    born = stream.truth.items - WILD.items
    block_hours = BLOCK_EVENTS / WILD.rate / 3600
    # Whole blocks are made, the last may reach behind the end of the log.
    assert born == pytest.approx(WILD.births * hours, abs=2 * WILD.births * block_hours)
    number = frame["item_id"].str[1:].astype(int)
    assert number.max() >= WILD.items
    early, late = number[: len(frame) // 10], number[-len(frame) // 10 :]
    assert early.max() < WILD.items
    assert len(set(early) - set(late)) > 10


def test_bots_late_events_and_repeats_have_their_shares(wild: tuple[pd.DataFrame, ShopperStream]) -> None:
    frame, stream = wild
    bots = frame["session_id"].str.startswith("bot")
    assert bots.mean() == pytest.approx(WILD.bots, rel=0.25)
    lengths = frame[bots].groupby("session_id").size()
    assert lengths.median() > 300
    repeated = frame.duplicated(["session_id", "item_id", "event_time_ms"]).mean()
    assert repeated == pytest.approx(WILD.duplicates, rel=0.2)
    arrived_ms = frame["event_time_ms"].cummax()
    late = (arrived_ms - frame["event_time_ms"] > 5_000).mean()
    assert late == pytest.approx(WILD.late, rel=0.2)
    assert stream.truth.late > 0
    assert stream.truth.duplicates > 0


def test_every_kind_of_file_reads_as_the_same_log(tmp_path: Path) -> None:
    small = ShopperSettings(events=120_000, items=100, rate=1_000.0, bots=0.02, late=0.01, duplicates=0.01)
    expected, _ = log_of(small)
    for suffix in (".csv", ".jsonl", ".parquet"):
        write_log(ShopperStream(small), tmp_path / f"log{suffix}")
    csv = pd.concat(EventFiles([tmp_path / "log.csv"]).read(), ignore_index=True)
    events = map(decode_event, (tmp_path / "log.jsonl").read_bytes().splitlines())
    lines = pd.DataFrame([msgspec.structs.asdict(event) for event in events])
    parquet = pq.read_table(tmp_path / "log.parquet").to_pandas()
    assert parquet["kind"].eq("view").all()
    for found in (csv, lines, parquet):
        for column in ("session_id", "item_id", "event_time_ms"):
            assert found[column].tolist() == expected[column].tolist(), column


def test_the_command_writes_a_file_that_the_report_describes(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    words = ["synthetic", "--events", "80000", "--items", "400", "--rate", "200", "--bots", "0.05"]
    shown = CliRunner().invoke(
        nextclick.app, [*words, "--duplicates", "0.01", "--output", str(path), "--json"]
    )
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["bytes"] == path.stat().st_size
    assert told["best_recall_at_20"] == pytest.approx(told["best_recall_at_20_of_this_log"], abs=0.01)
    report = report_on([path])
    assert report.events == 80_000
    assert report.sessions.duplicates == pytest.approx(0.01, rel=0.2)
    assert report.sessions.in_long_sessions == pytest.approx(0.05, rel=0.3)
    assert CliRunner().invoke(nextclick.app, [*words, "--output", "log.txt"]).exit_code == 1


def test_settings_are_read_from_one_word() -> None:
    found = ShopperSettings.parse("synthetic:events=1e6,rate=500,bots=0.01,seed=3")
    assert found == ShopperSettings(events=1_000_000, rate=500.0, bots=0.01, seed=3)
    assert ShopperSettings.parse("synthetic:") == ShopperSettings()
    for wrong in ("synthetic:speed=3", "synthetic:events=many", "synthetic:noise=2", "synthetic:events=0"):
        with pytest.raises(NextclickError):
            ShopperSettings.parse(wrong)


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(small_disk: Path) -> None:
    with pytest.raises(NextclickError, match="cannot be written"):
        write_log(ShopperStream(ShopperSettings(events=200_000)), small_disk / "log.csv")
    assert list(small_disk.iterdir()) == []
