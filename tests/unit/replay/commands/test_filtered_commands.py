import json
from pathlib import Path

import pytest

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.end_to_end.demo import BROKER_PARTITIONS, EmbeddedBroker
from stream.settings import load_settings
from tests.harness.commands import run, run_json
from tests.harness.packed import write

HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
EVERYTHING = ["--kind", "all", "--category", "all"]
ELECTRONICS = ["--kind", "purchase", "--category", "electronics"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 sessions of an hour each: two views, two purchases of electronics, one of a kettle."""
    rows = []
    for session in range(40):
        events = [
            ("view", f"v{session % 3}", "electronics.tv"),
            ("view", "v9", "appliances.kettle"),
            ("purchase", f"p{session % 3}", "electronics.tv"),
            ("purchase", f"p{(session + 1) % 3}", "electronics"),
            ("purchase", "kettle", "appliances.kettle"),
        ]
        hour = f"2019-10-{1 + session // 20:02} {session % 20:02}"
        rows += [
            f"{hour}:0{n}:00 UTC,{kind},{item},1,{category},,5.0,9,s{session}"
            for n, (kind, item, category) in enumerate(events)
        ]
    return write(tmp_path_factory.mktemp("log") / "log.csv", HEADER + "\n".join(rows) + "\n")


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> EmbeddedBroker:
    """A broker with the topics of the default settings."""
    monkeypatch.setenv("NEXTCLICK_PARTITIONS", str(BROKER_PARTITIONS))
    embedded = EmbeddedBroker()
    embedded.make_topics(load_settings(bootstrap_servers=embedded.address))
    return embedded


@pytest.mark.parametrize("memory_map", [[], ["--memory-map"]])
def test_a_version_is_trained_on_the_wanted_events_alone(
    log: Path, tmp_path: Path, memory_map: list[str]
) -> None:
    trained = run("train", log, "--registry", tmp_path, "--network", "pop", *ELECTRONICS, *memory_map)
    assert trained.exit_code == 0, trained.exception
    version = Registry(tmp_path).load()
    assert sorted(version.vocabulary.item_ids) == ["p0", "p1", "p2"]
    assert version.manifest["data"]["filter"] == {"kinds": ["purchase"], "categories": ["electronics"]}
    if not memory_map:
        assert "left out 80: not of kind purchase; left out 40: not of category electronics" in trained.stderr


def test_next_purchases_of_users_are_studied_by_one_command(log: Path, tmp_path: Path) -> None:
    """Four users of many sessions, in a file as the shop's log is published."""
    header, *lines = log.read_text().splitlines()
    lines = [line.replace(",9,s", f",{n % 4},s") for n, line in enumerate(lines)]
    shop = write(tmp_path / "2019-Oct.csv", "\n".join([header, *lines]) + "\n")
    users = "user=user_id,item=product_id,time=event_time,kind=event_type,price=price,category=category_code"
    study = ["--network", "pop", *ELECTRONICS, "--where", "price=1..9", "--split", "user"]
    for named in ([], ["--columns", f"{users},sessions=user"]):
        trained = run("train", shop, *study, *named, "--registry", tmp_path)
        assert trained.exit_code == 0, trained.stderr
        version = Registry(tmp_path).load()
        assert version.manifest["data"]["filter"]["conditions"] == ["price=1..9"]
        assert version.manifest["data"]["split"] == "user"
        assert version.config.session_gap_s is None
    dear = run("train", shop, *ELECTRONICS, "--where", "price=6..", "--registry", tmp_path)
    assert "no event of kind purchase, of category electronics, of price=6.." in str(dear.exception)


def test_an_evaluation_on_other_events_than_the_training_s_says_so(log: Path, tmp_path: Path) -> None:
    assert run("train", log, "--registry", tmp_path, "--network", "pop", *ELECTRONICS).exit_code == 0
    same = run("evaluate", log, "--registry", tmp_path, *ELECTRONICS)
    assert "was trained on events" not in same.stderr
    other = run("evaluate", log, "--registry", tmp_path, *EVERYTHING)
    assert (
        "trained on events of kind purchase, of category electronics, it is evaluated on events of all kinds"
        in other.stderr
    )
    assert run_json("evaluate", log, "--registry", tmp_path, *ELECTRONICS)["targets"] == 40
    assert run_json("evaluate", log, "--registry", tmp_path, *EVERYTHING)["unknown"] == 120


def test_an_evaluation_is_on_the_events_that_the_version_was_made_for(log: Path, tmp_path: Path) -> None:
    assert run("train", log, "--registry", tmp_path, "--network", "pop", *ELECTRONICS).exit_code == 0
    inherited = run("evaluate", log, "--registry", tmp_path, "--json")
    assert inherited.stdout == run("evaluate", log, "--registry", tmp_path, *ELECTRONICS, "--json").stdout
    assert "evaluated on events of kind purchase, of category electronics, as the version" in inherited.stderr
    views = run("evaluate", log, "--registry", tmp_path, "--kind", "view")
    assert "it is evaluated on events of kind view, of category electronics" in views.stderr


def test_an_evaluation_on_what_was_learned_says_so(log: Path, tmp_path: Path) -> None:
    assert run("train", log, "--registry", tmp_path, "--network", "pop", *ELECTRONICS).exit_code == 0
    learned = Registry(tmp_path).load().manifest["data"]
    evaluated = run("evaluate", log, "--registry", tmp_path, "--json")
    assert json.loads(evaluated.stdout)["in_sample_events"] == learned["events"]
    assert f"in-sample: {learned['events']:,} of 80 evaluated events" in evaluated.stderr


def test_a_training_that_goes_on_keeps_to_the_events_of_the_version_before(log: Path, tmp_path: Path) -> None:
    made: list[str | Path] = ["train", log, "--registry", tmp_path, "--epochs", "1", "--set", "hidden_size=8"]
    assert run(*made, *ELECTRONICS).exit_code == 0
    went_on = run(*made, "--start", "champion")
    assert went_on.exit_code == 0, went_on.exception
    version = Registry(tmp_path).load()
    assert version.manifest["data"]["filter"] == {"kinds": ["purchase"], "categories": ["electronics"]}
    assert "v9" not in version.vocabulary.index
    other = run(*made, "--start", "champion", *EVERYTHING)
    assert "it goes on with events of all kinds" in other.stderr
    assert Registry(tmp_path).load().manifest["data"]["filter"] == {}


def test_a_cadence_replays_the_events_the_session_rule_and_the_network_of_a_version(
    log: Path, tmp_path: Path
) -> None:
    small = ["--set", "hidden_size=8", "--session-gap-s", "900"]
    options: list[str | Path] = ["--registry", tmp_path, "--epochs", "1", *small]
    assert run("train", log, *options, *ELECTRONICS).exit_code == 0
    study: list[str | Path] = ["cadence", log, "--every", "never", "--json"]
    inherited = run(*study, "--model", "champion", "--registry", tmp_path)
    assert inherited.exit_code == 0, inherited.exception
    assert "was trained on events of kind purchase, of category electronics" in inherited.stderr
    assert "left out 80: not of kind purchase" in inherited.stderr
    named = run(*study, "--set", "hidden_size=8", "--session-gap-s", "900", *ELECTRONICS)
    first, second = (json.loads(result.stdout) for result in (inherited, named))
    assert first["targets"] == second["targets"]


def test_a_manifest_of_an_earlier_version_of_nextclick_does_not_record_the_kinds(
    log: Path, tmp_path: Path
) -> None:
    assert run("train", log, "--registry", tmp_path, "--network", "pop", *ELECTRONICS).exit_code == 0
    folder = tmp_path / str(Registry(tmp_path).champion())
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["data"]["filter"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    evaluated = run("evaluate", log, "--registry", tmp_path)
    assert evaluated.exit_code == 0, evaluated.exception
    assert "trained on events of kinds that its manifest does not record" in evaluated.stderr


def test_models_are_compared_on_the_wanted_events(log: Path) -> None:
    compared = run_json(
        "compare", log, "--models", "pop transitions", *ELECTRONICS, "--test-fraction", "0.25"
    )
    assert (compared["targets"], compared["sessions"]) == (10, 10)


def test_the_wanted_events_are_replayed(log: Path, broker: EmbeddedBroker) -> None:
    report = run_json("replay", log, "--bootstrap-servers", broker.address, *ELECTRONICS)
    assert report["sure"] == 80
    assert report["rejects"] == {"not of kind purchase": 80, "not of category electronics": 40}


@pytest.mark.parametrize(
    "command",
    [
        ["train"],
        ["train", "--memory-map"],
        ["compare", "--models", "pop"],
        ["cadence"],
        ["tune", "--output", "found.toml"],
        ["replay"],
    ],
)
def test_no_command_goes_on_with_nothing(
    log: Path, tmp_path: Path, command: list[str], broker: EmbeddedBroker
) -> None:
    places = {"train": ["--registry", str(tmp_path)], "replay": ["--bootstrap-servers", broker.address]}
    result = run(*command, log, "--category", "toys", *places.get(command[0], []))
    assert isinstance(result.exception, NextclickError), result.output
    assert "no event of category toys" in result.exception.what
    assert "electronics, appliances" in result.exception.meaning
    assert result.exception.remedy


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--kind", "click"], "--kind is one of view"), (["--category", " "], "--category names nothing")],
)
def test_a_filter_that_means_nothing_is_misuse(log: Path, options: list[str], message: str) -> None:
    result = run("train", log, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", "").split())


def test_the_metadata_of_the_training_files_describe_the_test_files(tmp_path: Path) -> None:
    header = "userId,movieId,rating,timestamp\n"
    ratings = [f"{n},{n % 3},4.0,{1_000_000_000 + n * 100_000 + s}\n" for n in range(30) for s in range(3)]
    ratings = [line.replace(f",{n % 3},", f",{k % 3},") for k, line in enumerate(ratings) for n in [k // 3]]
    earlier = write(tmp_path / "earlier.csv", header + "".join(ratings[:60]))
    later = write(tmp_path / "later.csv", header + "".join(ratings[60:]))
    movies = write(tmp_path / "movies.csv", "movieId,title,genres\n0,A,Drama\n1,B,Drama\n2,C,War\n")
    trained = run_json(
        "train", earlier, movies, "--test", later, "--registry", tmp_path, "--network", "pop",
        "--category", "drama",
    )  # fmt: skip
    assert Registry(tmp_path).load().vocabulary.titles == {"0": "A", "1": "B"}
    assert trained["evaluation"]["unknown"] == 0
    assert trained["evaluation"]["targets"] == 10
