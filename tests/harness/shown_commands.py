"""Commands as pages show them, taken apart and held against the command line without running them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from typer.exceptions import TyperException
from typer.main import get_command

import nextclick
from model.config import ModelConfig
from model.config_files import build_config, parse_models, parse_settings, read_params, read_variants
from model.networks.by_name import constructor
from replay.commands.bench import BENCHMARKS
from replay.studies.run import chosen_rows, configs_of
from replay.studies.study import read_study
from tests.conftest import ROOT

LONGEST_OPTION = re.compile(r"--[a-z-]+")


def fault_of(line: str, logs: set[str]) -> str:
    """Returns why the shown command cannot run; "" if it can, given its logs.

    Its words, options and their types must be the command line's, its settings must make configurations, its
    variants, studies and rows must be there, and its files too, but for `logs`, which the reader brings.
    """
    words = shlex.split(line)
    if words[:1] != ["nextclick"] or len(words) < 2:
        return "it is no command of nextclick"
    command: Any = get_command(nextclick.app)
    name, arguments = words[1], words[2:]
    if name not in command.commands:
        return f"there is no command {name}"
    try:
        if name == "bench":
            return _benchmark_fault(arguments)
        context = command.commands[name].make_context(name, arguments)
    except TyperException as error:
        return str(error)
    given = context.params
    paths = [path for value in given.values() for path in _paths(value)]
    missing = [str(path) for path in paths if str(path) not in logs and not (ROOT / path).exists()]
    # What a command writes need not be there.
    missing = [path for path in missing if path != str(given.get("output"))]
    if missing:
        return f"there is no {', '.join(missing)}, and the page does not say that it is a log"
    return _settings_fault(name, given)


def _paths(value: Any) -> list[Path]:
    if isinstance(value, Path):
        return [value]
    return [path for path in value if isinstance(path, Path)] if isinstance(value, list | tuple) else []


def _settings_fault(name: str, given: dict[str, Any]) -> str:
    """Make every configuration that the command would train; its own errors are returned."""
    try:
        settings = parse_settings(given.get("set_") or [])
        if name == "reproduce":
            study, only = read_study(given["study"]), given.get("only") or []
            chosen_rows(study, only)
            for table in study.table:
                configs_of(table, settings, only)
            return ""
        configs: list[ModelConfig] = []
        if given.get("models"):
            configs += parse_models(given["models"].split(), settings).values()
        if given.get("variants"):
            configs += read_variants(given["variants"], settings, (given.get("only") or "").split()).values()
        if given.get("params"):
            configs.append(build_config({**read_params(given["params"]), **settings}))
        for config in configs:
            constructor(config.network)
    except Exception as error:  # noqa: BLE001 - whatever it would end with is what the page must know
        return str(error)
    return ""


def _benchmark_fault(arguments: list[str]) -> str:
    """A benchmark is a program of its own: its options are those that its source adds."""
    name, rest = arguments[0], arguments[1:]
    if name not in BENCHMARKS:
        return f"there is no benchmark {name}"
    source = (ROOT / "deploy" / "benchmarks" / f"{name}.py").read_text()
    known = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', source))
    unknown = [word for word in rest if LONGEST_OPTION.fullmatch(word) and word not in known]
    if unknown:
        return f"bench {name} has no {', '.join(unknown)}"
    given = {rest[at][2:]: rest[at + 1] for at in range(len(rest) - 1) if rest[at].startswith("--")}
    return _settings_fault(
        name,
        {
            "models": given.get("models"),
            "variants": Path(given["variants"]) if "variants" in given else None,
            "only": given.get("only"),
            "set_": [rest[at + 1] for at in range(len(rest) - 1) if rest[at] == "--set"],
        },
    )
