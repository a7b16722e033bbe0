"""One way to name a log: an archive is named where files are, in every command that reads one."""

from pathlib import Path

import pytest

from model.registry.registry import Registry
from stream.event_log.columns import Record
from stream.events import Event, encode_event
from tests.harness.archives import Log, write_archive
from tests.harness.commands import run, run_json
from tests.harness.markov_shoppers import SyntheticLog

NETWORK = ("--network", "transitions")


@pytest.fixture
def archive(tmp_path: Path, shoppers: SyntheticLog) -> Path:
    """The shoppers' log as an archive of two partitions, each session whole in one, with session ends."""
    log: Log = {0: [], 1: []}
    for row in shoppers.frame.itertuples(index=False):
        part = log[int(row.session_id[1:]) % 2]
        event = Event(row.session_id, row.event_time_ms, row.item_id)
        part.append(Record(len(part), row.session_id.encode(), encode_event(event), row.event_time_ms))
    ended = Event("s0", int(shoppers.frame["event_time_ms"].max()), kind="session_end")
    log[0].append(Record(len(log[0]), b"s0", encode_event(ended), ended.event_time_ms))
    write_archive(tmp_path / "archive", log, rotate=700, group=200)
    return tmp_path / "archive"


@pytest.fixture
def csv(tmp_path: Path, shoppers: SyntheticLog) -> Path:
    path = tmp_path / "log.csv"
    shoppers.frame.to_csv(path, index=False)
    return path


def test_a_model_learns_from_an_archive_what_it_learns_from_the_file(
    tmp_path: Path, archive: Path, csv: Path, shoppers: SyntheticLog
) -> None:
    registry = Registry(tmp_path / "registry")
    of_file = run_json("train", csv, "--registry", registry.root, *NETWORK)
    of_archive = run_json("train", archive, "--registry", registry.root, *NETWORK)
    assert of_archive["evaluation"] == of_file["evaluation"]
    data = registry.load(of_archive["version"]).manifest["data"]
    assert data["source"] == str(archive)
    assert sum(end - first for first, end in data["offsets"].values()) == len(shoppers.frame) + 1
    assert data["newest_event_time_ms"] == data["last_event_time_ms"] > 0
    # On disk: the same events, by runs.
    mapped = run_json("train", archive, "--registry", registry.root, *NETWORK, "--memory-map")
    assert mapped["evaluation"] == of_file["evaluation"]


def test_evaluate_compare_cadence_and_data_report_read_an_archive(
    tmp_path: Path, archive: Path, csv: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    columns = "session=session_id,item=item_id,time=event_time_ms:ms"
    # Files would be read by the mapping that the version keeps, which an archive has no use for.
    run_json("train", csv, "--registry", registry.root, *NETWORK, "--columns", columns)
    scores = [run_json("evaluate", log, "--registry", registry.root) for log in (csv, archive)]
    assert scores[0] == scores[1]
    compared = [run_json("compare", log, "--models", "pop transitions") for log in (csv, archive)]
    figures = [[(row["name"], row["recall"], row["mrr"]) for row in found["rows"]] for found in compared]
    assert figures[0] == figures[1]
    studies = [
        run_json("cadence", log, "--every", "never", "--set", "hidden_size=8") for log in (csv, archive)
    ]
    assert studies[0]["rows"][0]["recall"] == studies[1]["rows"][0]["recall"]
    reports = [run_json("data", "report", log) for log in (csv, archive)]
    # The end of a session is a kind of record, and nothing else.
    assert reports[1]["kinds"].pop("session_end") == 1
    for name in ("events", "kinds", "first_event_time_ms", "last_event_time_ms", "items"):
        assert reports[0][name] == reports[1][name], name


def test_a_mapping_of_an_archive_is_refused(archive: Path) -> None:
    result = run("train", archive, "--columns", "session=1,item=2,time=3")
    assert "of which nothing has to be said" in str(result.exception)


def test_a_log_is_files_or_the_topic(csv: Path) -> None:
    assert "no log is named" in run("train").output
    assert "both FILES and --from-topic" in run("compare", csv, "--from-topic").output
    assert "of files" in run("compare", "--from-topic", "--columns", "session=1,item=2,time=3").output
    for command in ("cadence", "certify", "replay"):
        assert "no log is named" in run(command).output
    assert "both FILES and --from-topic" in run("replay", csv, "--from-topic", "shop").output


def test_what_goes_with_files_alone_is_refused_of_a_topic_that_is_replayed(tmp_path: Path) -> None:
    topic = ("replay", "--from-topic", "shop")
    refused = run(*topic, "--columns", "session=1,item=2,time=3", "--checkpoint", tmp_path / "at.json")
    assert "--columns, --checkpoint are of files" in refused.output
    assert "nextclick ingest" in refused.output
    assert "counted by reason" in run(*topic, "--on-error", "dlq").output
    assert "would be read and written" in run("replay", "--from-topic", "events").output
