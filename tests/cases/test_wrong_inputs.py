"""Every command over wrong inputs: exit 0 or 2, three parts, no traceback."""

import gzip
import lzma
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from replay.end_to_end.demo import EmbeddedBroker
from stream.kafka.topics import plans
from stream.settings import PREFIX, Settings
from tests.harness import fork_server
from tests.harness.commands import Ended, run_main

ROWS = [f"{1506826800000 + n * 1000},s{n // 4},u{n // 4},{n % 4 + n // 40 % 5}" for n in range(400)]
LOG = "timestamp_ms,session_id,user_id,item_id\n" + "\n".join(ROWS) + "\n"
HEADER = LOG.splitlines()[0]
# Name → content of a file that is no log, no certificate, no settings: whatever a command wants.
WRONG = {
    "empty.csv": b"",
    "binary.csv": random.Random(7).randbytes(5000),
    "zeros.csv": bytes(3000),
    "cr_only.csv": LOG.replace("\n", "\r").encode(),
    "utf16.csv": LOG.encode("utf-16"),
    "latin1.csv": LOG.replace("s0", "s\xe9").encode("latin-1"),
    "header.csv": f"{HEADER}\n".encode(),
    "words.csv": f"{HEADER}\nyesterday,,,\n".encode(),
    "quote.csv": LOG.replace(",s5,", ',"s5,').encode(),
    "long_line.csv": f"{HEADER}\n{'1' * 300_000}\n".encode(),
    "open.json": b'{"letters": [',
    "deep.json": b"[" * 100_000,
    "list.json": b"[1, 2]\n",
    "number.jsonl": b"1\n2\n",
    "nan.jsonl": b'{"event_id": NaN}\n',
    "open.toml": b"[user\n",
    "flat.toml": b"worker = 3\n",
    "bad.parquet": b"PAR1" + bytes(100) + b"PAR1",
    "cut.csv.gz": gzip.compress(LOG.encode())[:-9],
    "no.csv.gz": b"no gzip",
    "cut.csv.xz": lzma.compress(LOG.encode())[:-9],
    "no.csv.zip": b"PK\x03\x04 no zip",
    "name_\udcff.csv": LOG.encode(),
}
FOLDERS = {"folder": "a folder", "missing": "not there", "link": "a link to nothing", "below": "below a file"}
TOO_LONG = "x" * 300


def checked(*arguments: str | Path) -> Ended:
    """A command that ended as commands may end."""
    ended = run_main(*arguments)
    assert "Traceback" not in ended.errors, (arguments, ended.errors)
    assert ended.code in (0, 2), (arguments, ended)
    if ended.code == 2 and "Usage:" not in ended.errors:
        what, _, rest = ended.errors[ended.errors.rindex("error: ") :].partition("\n")
        assert what.removeprefix("error: ").strip(), arguments
        assert "\ndo: " in f"\n{rest}", (arguments, ended.errors)
    return ended


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good log, and a registry with a champion that was trained on it."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "log.csv").write_text(LOG)
    (folder / "registry").mkdir()
    trained = run_main(
        "train", folder / "log.csv", "--registry", folder / "registry", "--network", "pop", "--json"
    )
    assert trained.code == 0, trained.errors
    return folder


@pytest.fixture(autouse=True)
def settings_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No broker, and folders of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setenv(f"{PREFIX}STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv(f"{PREFIX}REGISTRY_DIR", str(tmp_path / "none"))


@pytest.fixture(scope="module", params=[*WRONG, *FOLDERS, TOO_LONG])
def wrong(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that is wrong in its own way."""
    folder = tmp_path_factory.mktemp("input")
    path = Path(folder, request.param)
    if request.param in WRONG:
        path.write_bytes(WRONG[request.param])
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "link":
        path.symlink_to(folder / "nothing")
    elif request.param == "below":
        path.write_text("a file")
        return path / "file.csv"
    return path


def test_commands_that_read_a_log(wrong: Path, folder: Path) -> None:
    champion = ("--registry", folder / "registry")
    for arguments in (
        ("data", "report", wrong),
        ("data", "report", wrong, "--on-error", "stop"),
        ("data", "report", folder / "log.csv", "--test", wrong),
        ("train", wrong, "--registry", "made", "--network", "pop"),
        ("train", folder / "log.csv", "--test", wrong, "--registry", "made", "--network", "pop"),
        ("train", wrong, "--on-error", "skip", "--registry", "made", "--network", "pop"),
        ("evaluate", wrong, *champion),
        ("compare", wrong, "--models", "pop", "--on-error", "skip"),
        ("tune", wrong, "--trials", "1", "--network", "pop", "--output", "tuned.toml"),
        ("cadence", wrong, "--every", "never"),
    ):
        checked(*arguments)


def test_commands_that_read_another_file(wrong: Path, folder: Path) -> None:
    log = folder / "log.csv"
    for arguments in (
        ("train", log, "--registry", "made", "--params", wrong),
        ("train", log, "--registry", "made", "--network", "text-gru", "--catalogue", wrong),
        ("compare", log, "--variants", wrong),
        ("certify", log, "--compare", wrong, "--registry", folder / "registry"),
        ("verify", wrong),
        ("dlq", "replay", "--corrected", wrong),
        ("acls", "--file", wrong),
    ):
        checked(*arguments)


def test_commands_that_open_a_registry(wrong: Path, folder: Path) -> None:
    for arguments in (
        ("models",),
        ("evaluate", folder / "log.csv"),
        ("recommend", "1"),
        ("promote", "20260101T120000000Z-1a2b3c4d"),
        ("rollback",),
        ("shadow", "20260101T120000000Z-1a2b3c4d"),
        ("certify", folder / "log.csv"),
        ("train", folder / "log.csv", "--unless-champion", "--network", "nothing"),
    ):
        checked(*arguments, "--registry", wrong)


def test_files_of_a_registry(folder: Path, tmp_path: Path) -> None:
    names = ["CHAMPION", "CHAMPIONS", *(path.name for path in next(folder.glob("registry/2*")).iterdir())]
    for name in names:
        for content in (b"", WRONG["binary.csv"], None):
            registry = tmp_path / "registry"
            shutil.copytree(folder / "registry", registry)
            path = next(registry.rglob(name))
            path.unlink()
            path.mkdir() if content is None else path.write_bytes(content)
            checked("models", "--registry", registry)
            checked("recommend", "1", "--registry", registry)
            shutil.rmtree(registry)


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    yield EmbeddedBroker()


def test_a_replay(wrong: Path, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}BOOTSTRAP_SERVERS", broker.address)
    settings = Settings(bootstrap_servers=broker.address)
    assert plans(settings)
    broker.make_topics(settings)
    checked("replay", wrong, "--on-error", "skip", "--certificate", "sent.json")


def test_a_search_that_fails_prints_no_traceback(folder: Path, tmp_path: Path) -> None:
    # In a process of its own: optuna keeps the standard error that it was imported with.
    output = str(tmp_path / "tuned.toml")
    ended = fork_server.run(
        "tune", str(folder / "log.csv"), "--network", "pop", "--output", output, env=os.environ, timeout=120
    )
    assert ended.returncode == 2
    assert "there is nothing to search for 'pop'" in ended.stderr
    assert "Traceback" not in ended.stderr
