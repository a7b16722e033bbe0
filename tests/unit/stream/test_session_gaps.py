"""A topic of users is cut into sessions as a file of the same mapping is, or refused."""

import json
import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.comparison.challenger import challenge, contenders, split_newest
from model.comparison.gate import GateRule, decide
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from replay.datasets.event_files import EventFiles
from stream.doctor.worker_checks import worker_checks
from stream.event_decoder import OWN_EVENTS, OwnEvents, patient
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archive_part import OpenPart
from stream.event_log.columns import Record
from stream.event_log.logged_events import LoggedEvents
from stream.ingest.decoders import decoder_of, ingested_gap_s
from stream.ingest.mapped_decoder import MappedDecoder
from stream.log_mapping import LogMapping
from stream.retraining.options import RetrainOptions, WindowOptions
from stream.session_gaps import check_champion
from stream.settings import Settings
from stream.wave.first_version import prepare_first
from stream.wave.serving_model import ModelSlot

USERS = {"user": "who", "item": "sku", "time": "at"}
TWENTY = LogMapping(USERS, time_unit="ms", sessions="gap", gap_minutes=20)
DAYS = LogMapping(USERS, sessions="day")
OWN = LogMapping({"session": "visit", "item": "sku", "time": "at"})
START_MS = 1_700_000_000_000
# Minutes of a user's events: silences of 25 minutes end sessions of 20 minutes, and not those of 30.
MINUTES = (0, 10, 35, 60, 61)


def saved(registry: Registry, gap_s: float | None) -> str:
    vocabulary = Vocabulary(["a", "b"], np.array([2, 1]))
    config = ModelConfig(network="pop", session_gap_s=gap_s)
    version = registry.save(TrainedModel(build(config, vocabulary), config, vocabulary), scores={}, data={})
    registry.champions.promote(version.version)
    return version.version


def clicks() -> list[bytes]:
    return [
        json.dumps({"who": f"u{user}", "sku": f"i{minute}", "at": START_MS + minute * 60_000}).encode()
        for minute in MINUTES
        for user in range(2)
    ]


def cut(frame: pd.DataFrame, gap_s: float | None) -> list[list[str]]:
    """The sessions as lists of items."""
    vocabulary = Vocabulary.from_frame(frame)
    sessions = Sessions.from_frame(frame, vocabulary, SessionRule(gap_s))
    items = [vocabulary.item_ids[item] for item in sessions.items.tolist()]
    ends = sessions.offsets.tolist()
    return sorted(items[first:end] for first, end in pairwise(ends))


def archive_of(folder: Path, decoder: MappedDecoder) -> Path:
    """An archive of the clicks as a topic, as an archiver writes it."""
    folder.mkdir(exist_ok=True)
    archive = ArchiveFolder(folder)
    archive.belong_to("clicks", "an-id", decoder.session_gap_s)
    archive.open_partition(0)
    part = OpenPart(archive, 0, 0, 0.0, decoder)
    for offset, value in enumerate(clicks()):
        part.add(Record(offset, None, value, START_MS))
    part.publish()
    return folder


def test_a_topic_and_an_archive_of_users_are_cut_as_the_file_of_the_same_mapping(tmp_path: Path) -> None:
    file = tmp_path / "clicks.jsonl"
    file.write_bytes(b"\n".join(clicks()))
    of_file = EventFiles([file], columns=TWENTY).open()
    expected = cut(of_file.load(), of_file.session_gap_s)
    assert len(expected) == 6
    decoder = MappedDecoder(TWENTY)
    events = [decoder.decode(value) for value in clicks()]
    rows = [(event.session_id, event.item_id, event.event_time_ms, event.kind) for event in events]
    of_topic = pd.DataFrame(rows, columns=["session_id", "item_id", "event_time_ms", "kind"])
    assert cut(of_topic, decoder.session_gap_s) == cut(of_topic, patient(decoder).session_gap_s) == expected
    of_archive = EventFiles([archive_of(tmp_path / "archive", decoder)]).open()
    assert of_archive.session_gap_s == 1200
    assert cut(of_archive.load(), of_archive.session_gap_s) == expected


def test_no_version_is_promoted_that_cuts_the_topic_otherwise(tmp_path: Path) -> None:
    settings = Settings(registry_dir=tmp_path / "registry", state_dir=tmp_path / "state", wave_size=8)
    registry = Registry(settings.registry_dir)
    other = saved(registry, 1800.0)
    live = ModelSlot(settings, None, MappedDecoder(TWENTY).session_gap_s)
    with pytest.raises(NextclickError, match=f"{other} ends sessions after 1800 s of silence, .* 1200 s"):
        live.prepare(other)
    # Sessions of the log's own leave the rule to the version.
    assert ModelSlot(settings, None, MappedDecoder(OWN).session_gap_s).prepare(other).version == other


def test_a_worker_starts_with_the_champion_of_another_gap_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after an upgrade: until then `gap_minutes` was not held against versions."""
    settings = Settings(registry_dir=tmp_path / "registry", state_dir=tmp_path / "state", wave_size=8)
    registry = Registry(settings.registry_dir)
    before, champion = saved(registry, 1800.0), saved(registry, 1800.0)
    live = ModelSlot(settings, None, MappedDecoder(TWENTY).session_gap_s)
    serving, refused = prepare_first(live, registry)
    assert (serving.version, serving.rule.gap_s, refused) == (champion, 1800.0, [])
    assert (
        f"{champion} serves and ends sessions after 1800 s of silence, the mapping of the log after 1200 s"
        in caplog.text
    )
    # Where the champion is damaged, one before it, of the same gap.
    (registry.root / champion / "config.json").write_text("{")
    assert prepare_first(live, registry)[0].version == before
    caplog.clear()
    fits = saved(registry, 1200.0)
    assert prepare_first(live, registry)[0].version == fits
    assert "ends sessions" not in caplog.text


def test_the_doctor_tells_of_a_worker_that_serves_another_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    status = {
        "accounting": {"lost": 0, "partitions": {}},
        "begun_anew": [],
        "producer_faults": {"misplaced": 0, "no_key": 0},
        "model": "v1",
        "session_gap_s": 1800.0,
        "mapping_session_gap_s": 1200.0,
    }
    monkeypatch.setattr("stream.doctor.worker_checks._ask", lambda *_: status)
    found = {one.check: one for one in worker_checks("http://worker")}["session gap"]
    assert (found.verdict, found.found) == (
        "WARN",
        "v1 ends sessions after 1800 s of silence, the mapping of the log after 1200 s of silence",
    )
    for fits in ({"session_gap_s": 1200.0}, {"mapping_session_gap_s": None}):
        monkeypatch.setattr("stream.doctor.worker_checks._ask", lambda *_, fits=fits: {**status, **fits})
        assert "session gap" not in {one.check for one in worker_checks("http://worker")}


def test_a_retraining_learns_by_the_gap_of_the_mapping_or_says_what_differs(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    champion = registry.load(saved(registry, 1800.0))
    options = RetrainOptions(WindowOptions(decoder=MappedDecoder(TWENTY)))
    assert options.config(None, 1).session_gap_s == 1200
    # A champion from before the gap was held to heals so.
    assert options.config(champion, 1).session_gap_s == 1200
    days = RetrainOptions(WindowOptions(decoder=OwnEvents(0.0)))
    assert days.config(champion, 1).session_gap_s is None
    own = RetrainOptions(WindowOptions(decoder=MappedDecoder(OWN)))
    assert own.config(champion, 1).session_gap_s == 1800
    wrong = RetrainOptions(options.window, {"session_gap_s": 900.0})
    with pytest.raises(NextclickError, match="the configuration ends sessions after 900 s"):
        wrong.config(champion, 1)
    named = RetrainOptions(options.window, {"session_gap_s": 1200.0})
    assert named.config(champion, 1).session_gap_s == 1200
    archive = archive_of(tmp_path / "archive", MappedDecoder(TWENTY))
    of_archive = RetrainOptions(WindowOptions(archive=archive, decoder=OwnEvents()))
    assert of_archive.config(None, 1).session_gap_s == 1200


def test_events_that_are_ingested_from_users_have_the_gap_of_their_mappings(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.toml" for name in ("views", "orders", "days")}
    for name, mapping in (("views", TWENTY), ("orders", OWN), ("days", DAYS)):
        files[name].write_text(mapping.as_toml())
    pairs = f"views={files['views']},orders={files['orders']}"
    assert decoder_of(Settings(ingest_from=pairs)).session_gap_s == 1200
    assert ingested_gap_s({"days": DAYS}) == 0.0
    with pytest.raises(NextclickError, match="views after 1200 s of silence, days by no silence"):
        decoder_of(Settings(ingest_from=f"{pairs},days={files['days']}"))


def test_the_gate_holds_a_champion_of_another_gap_to_the_challengers_sessions(tmp_path: Path) -> None:
    champion = Registry(tmp_path).load(saved(Registry(tmp_path), 1800.0))
    rows = [
        (f"u{user}", item, START_MS + (user * 600 + minute) * 60_000, "view")
        for user in range(10)
        # A silence of 25 minutes: three sessions of 20 minutes are one or two of 30.
        for minute, item in ((0, "a"), (5, "b"), (30, "b"), (31, "a"), (60, "a"), (61, "b"))
    ]
    frame = pd.DataFrame(rows, columns=["session_id", "item_id", "event_time_ms", "kind"])
    split = split_newest(frame, 0.5, None)
    config = RetrainOptions(WindowOptions(decoder=MappedDecoder(TWENTY))).config(champion, 1)
    challenger = challenge(split, config, champion=champion.vocabulary)
    own, reference, baselines = contenders(challenger, champion, split)
    assert reference is not None
    decision = decide(own, reference, baselines, GateRule(step_factor=1e9, min_sessions=1, margin=0.5))
    assert (decision.accepted, decision.sessions, decision.targets) == (True, 15, 15)


def test_a_mapping_that_only_the_ingester_can_read_ends_no_other_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone, views = tmp_path / "gone.toml", tmp_path / "views.toml"
    views.write_text(TWENTY.as_toml())
    assert decoder_of(Settings(ingest_from=f"orders={gone}")) is OWN_EVENTS
    assert f"the mapping of orders, which is ingested, cannot be read here: {gone}" in caplog.text
    assert decoder_of(Settings(ingest_from=f"orders={gone},views={views}")).session_gap_s == 1200


def test_ingest_holds_the_champion_to_its_mappings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "registry"
    check_champion(1800.0, folder)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        check_champion(1200.0, folder)
    assert "train versions with --session-gap-s 1200" in caplog.text
    champion = saved(Registry(folder), 1800.0)
    caplog.clear()
    check_champion(1800.0, folder)
    assert not caplog.records
    check_champion(1200.0, folder)
    assert f"{champion} ends sessions after 1800 s of silence, the mappings that are ingested" in caplog.text
    # A damaged champion ends no ingester.
    (folder / champion / "config.json").write_text("{")
    check_champion(1200.0, folder)
    assert f"the champion in {folder} cannot be read" in caplog.text


def test_an_older_archive_says_no_gap_until_an_archiver_goes_on_with_it(tmp_path: Path) -> None:
    archive = ArchiveFolder(archive_of(tmp_path, MappedDecoder(OWN)))
    assert archive.session_gap_s() is None
    assert LoggedEvents(Settings(), archive=tmp_path).session_gap_s is None
    archive.belong_to("clicks", "an-id", 1200.0)
    assert (archive.session_gap_s(), archive.topic_id()) == (1200.0, "an-id")
