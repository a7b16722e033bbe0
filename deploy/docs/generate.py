"""Writes commands.md and metrics.md from the code: python deploy/docs/generate.py"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from typer.main import get_command

import nextclick
from deploy.docs.metrics_found import Series, series
from replay.commands.bench import BENCHMARKS

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
MADE = "<!-- Made by deploy/docs/generate.py: change the command's help, groups.toml or the code instead. -->"
# Metrics by the program that has them, and the rooms of the code that make them.
PROGRAMS = {
    "Worker": [
        "stream/worker",
        "stream/wave",
        "stream/catalogue",
        "stream/asking",
        "stream/processes",
        "stream/access",
    ],
    "Worker: quality of the lists": ["stream/quality"],
    "Retraining": ["stream/retraining"],
    "Archive": ["stream/event_log"],
    "Ingest": ["stream/ingest"],
    "Outcomes": ["stream/outcomes"],
}


def files() -> dict[str, str]:
    """File name → its content."""
    return {"commands.md": commands_page(), "metrics.md": metrics_page()}


def commands_page() -> str:
    """Every command, by use: recipes first, then what each says of itself."""
    groups = tomllib.loads((FOLDER / "groups.toml").read_text())["group"]
    known: Any = get_command(nextclick.app)
    contents = [f"- [{group['title']}](#{anchor(group['title'])}): {linked(group)}" for group in groups]
    lines = [
        "# Commands",
        MADE,
        "Every command explains itself with `--help`. Results go to stdout, the log to stderr; `--json` "
        "prints a result for programs. An error says what happened, what it means and what to do, and "
        "ends with code 2. In the project's folder `python -m nextclick` is the same command.",
        "",
        *contents,
    ]
    for group in groups:
        lines += ["", f"## {group['title']}", "```sh", group["recipes"].strip(), "```"]
        for name in group["commands"]:
            lines += described(name, known.commands[name])
    return "\n".join(lines) + "\n"


def linked(group: dict[str, Any]) -> str:
    """The commands of a group, each a link to its section."""
    return ", ".join(f"[{name}](#nextclick-{name})" for name in group["commands"])


def anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def described(name: str, command: Any) -> list[str]:
    """A command's heading, help, example and options; of a group, also its commands."""
    lines = ["", f"### nextclick {name}", *told(command)]
    if name == "bench":
        lines += ["", "| benchmark | what it measures |", "|---|---|"]
        for benchmark, (summary, example) in BENCHMARKS.items():
            lines.append(f"| `nextclick bench {benchmark} {cell(example)}` | {plain(summary)} |")
        return [*lines, "", "Each has options of its own: `nextclick bench NAME --help`."]
    for inner, sub in getattr(command, "commands", {}).items():
        lines += ["", f"#### nextclick {name} {inner}", *told(sub)]
    return lines


def told(command: Any) -> list[str]:
    """Help, example and a table of options."""
    lines = [paragraph for paragraph in (command.help or "").replace("\b", "").split("\n") if paragraph]
    if command.epilog:
        lines += ["", "```sh", command.epilog.removeprefix("Example: "), "```"]
    context = command.make_context(command.name, [], resilient_parsing=True)
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [f"| `{cell(names)}` | {plain(text)} |" for names, text in filter(None, records)]
    if rows and not getattr(command, "commands", None):
        lines += ["", "| option | what it says |", "|---|---|", *rows]
    return lines


def cell(text: str) -> str:
    """A text that may stand in a table's cell: one line, with no bar of its own."""
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """A cell of words, in which `<` begins no tag."""
    return cell(text) if "`" in text else cell(text).replace("<", "&lt;")


def metrics_page() -> str:
    """Every Prometheus series of the code, by program."""
    found = series(ROOT)
    lines = [
        "# Metrics",
        MADE,
        "Every Prometheus series, as a scrape shows it. A worker serves its series at `/metrics` of its "
        "web port; `nextclick retrain --every` and `nextclick archive` serve theirs at "
        "`NEXTCLICK_METRICS_PORT`; a retraining by cron leaves them in `--metrics-file`. Each also has the "
        "series of its process (`process_*`: memory, CPU time, open files, start). No label takes its "
        "values from the data. Which ones to watch first: [operations](operations.md#watch-it).",
    ]
    listed = {room: program for program, rooms in PROGRAMS.items() for room in rooms}
    for program in [*PROGRAMS, "Other"]:
        made = [one for one in found if listed.get(one.module.rpartition("/")[0], "Other") == program]
        rows = [row(one) for one in made]
        if rows:
            lines += ["", f"## {program}", "| series | type | labels | meaning |", "|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def row(one: Series) -> str:
    """A row of the table of metrics."""
    labels = ", ".join(f"`{label}`" for label in one.labels)
    return f"| `{one.name}` | {one.kind} | {labels} | {plain(one.help)} |"


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_text(content)
