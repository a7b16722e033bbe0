"""The table of rooms: which folder may import which, and what each may hold.

A room is a folder of the packages. The package's own files (its contracts) may be imported by each of
its rooms, and a package by the packages above it: replay → stream → model.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# Package → packages that it may import.
PACKAGES = {"model": {"model"}, "stream": {"model", "stream"}, "replay": {"model", "stream", "replay"}}
# Room → rooms of the same package that it may import.
ROOMS = {
    "model/data": set(),
    "model/networks": {"data"},
    "model/stepping": {"networks"},
    "model/evaluation": {"stepping", "networks", "data"},
    "model/freshness": {"stepping", "networks", "data"},
    # A ranker learns from lists of sources that follow the events, as they do in a worker.
    "model/training": {"evaluation", "freshness", "stepping", "networks", "data"},
    "model/registry": {"training", "networks", "data"},
    "model/inspection": {"stepping", "networks", "data"},
    "model/comparison": {"training", "evaluation", "networks", "data"},
    "stream/kafka": set(),
    "stream/access": set(),
    "stream/ingest": {"kafka"},
    "stream/event_log": {"kafka"},
    "stream/sessions": {"kafka"},
    "stream/quality": {"sessions", "access"},
    "stream/catalogue": {"kafka"},
    "stream/experiments": set(),
    "stream/outcomes": {"experiments", "ingest", "kafka", "sessions"},
    "stream/wave": {"catalogue", "experiments", "quality", "sessions", "event_log"},
    "stream/worker": {"wave", "experiments", "quality", "sessions", "kafka"},
    "stream/processes": {"access", "quality"},
    "stream/asking": {"access", "worker", "wave", "catalogue", "sessions", "kafka"},
    "stream/web": {"access", "asking", "processes", "worker", "wave", "quality", "sessions", "kafka"},
    "stream/retraining": {"event_log", "kafka"},
    "stream/doctor": {"access", "sessions", "kafka"},
    "replay/synthetic": set(),
    "replay/certificates": set(),
    "replay/dead_letters": set(),
    "replay/cadence": set(),
    "replay/studies": set(),
    "replay/reading": set(),
    "replay/mappings": {"reading"},
    "replay/item_files": {"mappings", "reading"},
    "replay/datasets": {"mappings", "reading"},
    "replay/log_report": {"datasets"},
    "replay/sending": {"datasets", "reading", "certificates", "synthetic"},
    "replay/end_to_end": {"sending", "certificates", "datasets"},
    "replay/commands": {
        "cadence", "certificates", "datasets", "dead_letters", "end_to_end", "item_files", "log_report",
        "mappings",        "reading", "sending", "studies", "synthetic",
    },
}  # fmt: skip
# Files of a package's root that compose its rooms; the others are contracts and import none.
COMPOSERS = {
    "stream/app.py": {
        "web", "asking", "processes", "worker", "wave", "catalogue", "quality", "ingest", "kafka",
    },
    "stream/asyncapi.py": {"catalogue", "experiments", "kafka", "outcomes"},
    "stream/asyncapi_lists.py": {"experiments", "outcomes", "wave"},
}  # fmt: skip
# Files of replay/commands that are no command.
OF_COMMANDS = {
    "__init__", "lazy_commands", "options", "outputs", "training_output", "read_split", "titles_file",
    "guess_output", "log_files", "named_log", "stopping", "up_choices",
    "catalogue_file", "ruled_list",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One name that one file imports from a module of the packages."""

    file: str
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.file} imports {self.name} of {self.module}"

    @property
    def room(self) -> str:
        """The room that is imported, or the package where it is a contract file."""
        return room_of(self.target)

    @cached_property
    def target(self) -> str:
        """The file that is imported."""
        inner = f"{self.module}.{self.name}".replace(".", "/")
        for found in (f"{inner}.py", f"{inner}/__init__.py"):
            if (ROOT / found).exists():
                return found
        outer = self.module.replace(".", "/")
        return f"{outer}.py" if (ROOT / f"{outer}.py").exists() else f"{outer}/__init__.py"


def room_of(file: str) -> str:
    """The room of a file: its first two folders; what lies deeper belongs to the room around it."""
    return "/".join(file.split("/")[:-1][:2])


def sources(folder: str) -> list[Path]:
    """All files of Python under a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """The path of a file from the project's root."""
    return path.relative_to(ROOT).as_posix()


def imports_of(path: Path) -> list[Import]:
    """Every import of the project's own packages in a file, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [Import(name_of(path), alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found += [Import(name_of(path), node.module or "", alias.name) for alias in node.names]
    return [one for one in found if one.module.split(".")[0] in {*PACKAGES, "nextclick", "tests", "deploy"}]


def circle_in(arrows: dict[str, set[str]]) -> list[str]:
    """One circle among the arrows, in order; empty without any.

    >>> circle_in({"a": {"b"}, "b": {"a", "c"}, "c": set()})
    ['a', 'b', 'a']
    """
    done: set[str] = set()

    def walk(at: str, way: list[str]) -> list[str]:
        if at in way:
            return [*way[way.index(at) :], at]
        if at in done:
            return []
        for onward in sorted(arrows.get(at, set())):
            if circle := walk(onward, [*way, at]):
                return circle
        done.add(at)
        return []

    for start in sorted(arrows):
        if circle := walk(start, []):
            return circle
    return []
