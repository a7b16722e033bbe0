"""The layout: who may import whom, how large a room and a file may be, what a room says of itself."""

import ast
import re

import pytest

from nextclick import COMMANDS
from tests.architecture.rooms import (
    COMPOSERS,
    OF_COMMANDS,
    PACKAGES,
    ROOMS,
    ROOT,
    circle_in,
    imports_of,
    name_of,
    room_of,
    sources,
)

BROKER_LIBRARIES = {"confluent_kafka", "faust", "rocksdict", "aiokafka", "mode"}
NO_NOUNS = {"utils", "common", "helpers", "base", "manager"}
MOST_LINES = 300
MOST_FILES = 17
PROMETHEUS_TYPES = {
    "Counter", "Gauge", "Histogram", "Summary", "Info", "CounterMetricFamily", "GaugeMetricFamily",
    "InfoMetricFamily", "HistogramMetricFamily",
}  # fmt: skip
# The files that make Prometheus series: one a room, but that the worker's are many.
SERIES = {
    "stream/access/metrics.py",
    "stream/asking/metrics.py",
    "stream/catalogue/metrics.py",
    "stream/event_log/archive_metrics.py",
    "stream/ingest/ingest_metrics.py",
    "stream/outcomes/metrics.py",
    "stream/processes/metrics.py",
    "stream/quality/metrics.py",
    "stream/retraining/metrics.py",
    "stream/wave/metrics.py",
    "stream/worker/counters.py",
    "stream/worker/gauges.py",
}
# Who registers them: the worker's app, and what serves or writes those of retraining and archive.
REGISTERS = {"stream/app.py", "stream/metrics_server.py"}
# Words of the line "May import: …" that name no room of the package.
IN_WORDS = {
    "no",
    "room",
    "other",
    "and",
    "the",
    "contracts",
    "of",
    "model",
    "stream",
    "replay",
    "nothing",
    "s",
}
FILES = [path for package in PACKAGES for path in sources(package)]


def test_packages_import_only_what_is_below_them() -> None:
    for package, allowed in PACKAGES.items():
        assert len(sources(package)) > 5
        for path in sources(package):
            wrong = [one for one in imports_of(path) if one.module.split(".")[0] not in allowed]
            assert not wrong, wrong[0]


def test_rooms_import_only_what_the_table_allows() -> None:
    wrong = []
    for path in FILES:
        file, room = name_of(path), room_of(name_of(path))
        allowed = {f"{room.split('/')[0]}/{name}" for name in ROOMS.get(room, COMPOSERS.get(file, set()))}
        for one in imports_of(path):
            if one.room.split("/")[0] == room.split("/")[0] and one.room not in {room, *allowed, *PACKAGES}:
                wrong.append(str(one))
    assert not wrong, "\n".join(wrong)


def test_every_folder_is_a_room_of_the_table() -> None:
    assert {room_of(name_of(path)) for path in FILES} == {*ROOMS, *PACKAGES}


def test_the_table_of_rooms_has_no_circle() -> None:
    arrows = {room: {f"{room.split('/')[0]}/{name}" for name in names} for room, names in ROOMS.items()}
    assert not circle_in(arrows)


def test_no_files_import_each_other_in_a_circle() -> None:
    arrows = {name_of(path): {one.target for one in imports_of(path)} - {name_of(path)} for path in FILES}
    assert not circle_in(arrows)


def test_a_circle_is_found_where_there_is_one() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert not circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_the_models_know_no_kafka_no_faust_and_no_rocksdb() -> None:
    for path in sources("model"):
        tree = ast.walk(ast.parse(path.read_text()))
        modules = {node.module or "" for node in tree if isinstance(node, ast.ImportFrom)}
        assert not {module.split(".")[0] for module in modules} & BROKER_LIBRARIES, path


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_two_to_seventeen_files(room: str) -> None:
    for folder in [
        ROOT / room,
        *(path for path in (ROOT / room).iterdir() if (path / "__init__.py").exists()),
    ]:
        files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
        assert len(files) >= 2, folder
        assert len(files) <= MOST_FILES or room == "replay/commands", folder


def test_every_file_has_one_noun_and_a_size_to_read() -> None:
    for path in FILES:
        assert path.stem not in NO_NOUNS, path
        assert len(path.read_text().splitlines()) <= MOST_LINES, path


def test_a_command_is_the_file_and_the_function_of_its_name() -> None:
    folder = ROOT / "replay" / "commands"
    assert {path.stem for path in folder.glob("*.py")} - OF_COMMANDS == set(COMMANDS)
    for name in COMMANDS:
        tree = ast.parse((folder / f"{name}.py").read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        groups = {ast.unparse(node.targets[0]) for node in tree.body if isinstance(node, ast.Assign)}
        assert name in functions | groups, name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_is_in_it_and_what_it_may_import(room: str) -> None:
    text = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or ""
    files = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__"}
    # `nextclick --help` lists the commands.
    named = files & OF_COMMANDS if room == "replay/commands" else files
    assert not {name for name in named if not re.search(rf"\b{name}\b", text)}, room
    said = re.search(r"^May import: (.*?)\.", text, re.MULTILINE | re.DOTALL)
    assert said, f"{room} does not say what it may import"
    if said[1] != "all rooms":
        assert set(re.findall(r"[a-z_]+", said[1])) - IN_WORDS == ROOMS[room], room


def test_the_series_of_a_room_stand_in_one_file_and_the_app_registers_them() -> None:
    for path in sources("stream"):
        tree = list(ast.walk(ast.parse(path.read_text())))
        of_prometheus = {
            alias.name
            for node in tree
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client")
            for alias in node.names
        }
        if of_prometheus & PROMETHEUS_TYPES:
            assert name_of(path) in SERIES, path
        registers = [
            node
            for node in tree
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "register"
            and "registry" in ast.unparse(node.func.value)
        ]
        assert not registers or name_of(path) in REGISTERS, path
