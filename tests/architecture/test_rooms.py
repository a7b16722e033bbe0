import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ALLOWED = {"model": {"model"}, "stream": {"model", "stream"}, "replay": {"model", "stream", "replay"}}
BROKER_LIBRARIES = {"confluent_kafka", "faust", "rocksdict", "aiokafka", "mode"}
PACKAGES = set(ALLOWED) | {"nextclick"}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_imports_follow_the_arrow_replay_stream_model() -> None:
    for package, allowed in ALLOWED.items():
        assert len(sources(package)) > 5
        for path in sources(package):
            assert imported(path) & PACKAGES <= allowed, path


def test_the_models_know_no_kafka_no_faust_and_no_rocksdb() -> None:
    for path in sources("model"):
        assert not imported(path) & BROKER_LIBRARIES, path


def test_every_file_has_one_noun_and_a_size_to_read() -> None:
    for package in ALLOWED:
        for path in sources(package):
            assert path.stem not in {"utils", "common", "helpers", "base", "manager"}, path
            assert len(path.read_text().splitlines()) <= 330, path
