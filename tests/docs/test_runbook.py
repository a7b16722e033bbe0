"""deploy/docs/runbook.md has a row for whatever the program says, and no row for what it does not."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import nextclick
from stream.settings import PREFIX, SCRIPT_VARIABLES, Settings
from tests.conftest import ROOT
from tests.harness.messages import GAP, Message, constants, errors, log_lines, matches

RUNBOOK = ROOT / "deploy" / "docs" / "runbook.md"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
FILES = [
    ROOT / "nextclick.py",
    *sorted(path for part in ("model", "stream", "replay") for path in (ROOT / part).rglob("*.py")),
]
# Words of libraries, with the file of the library that has them.
OF_LIBRARIES = {
    "cannot cache function …: no locator available": ("numba.core.caching", "no locator available")
}
COMMAND_LINE = get_command(nextclick.app)


@dataclass(frozen=True)
class Row:
    line: int
    section: str
    cells: tuple[str, ...]

    @property
    def symptoms(self) -> list[str]:
        """What stands in backticks in the first column."""
        return re.findall(r"`([^`]+)`", self.cells[0])


def read_rows(text: str) -> list[Row]:
    rows, section = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| ") and not line.startswith("| symptom |"):
            rows.append(Row(number, section, tuple(cell.strip() for cell in line.strip("| ").split(" | "))))
    return rows


TEXT = RUNBOOK.read_text()
ROWS = read_rows(TEXT)
ERRORS = errors(ROOT, FILES)
LOG_LINES = log_lines(ROOT, FILES)
CONSTANTS = constants(FILES)
SCRIPTS = "\n".join(path.read_text() for path in sorted((ROOT / "deploy").rglob("*.sh")))


def alerts() -> dict[str, str]:
    """Each alert with the address of its row."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule["annotations"]["runbook"] for rule in rules}


def told(message: Message) -> bool:
    return any(
        symptom == message.text or matches(symptom, message.text) for row in ROWS for symptom in row.symptoms
    )


def hold_against(messages: list[Message]) -> None:
    """Fails with the rows that are to be added."""
    lacking = [f"{message.place} says\n{message.row}" for message in messages if not told(message)]
    if lacking:
        pytest.fail("add to deploy/docs/runbook.md, in better words:\n" + "\n".join(lacking), pytrace=False)


def is_metric(name: str) -> bool:
    """Whether the code has a metric of this name; counters are made without their _total."""
    bare = {name, name.removesuffix("_total"), name.removesuffix("_info")}
    made = (text for text in CONSTANTS if re.fullmatch(rf"nextclick_[a-z0-9_{GAP}]+", text))
    return any(
        re.fullmatch(text.replace(GAP, "[a-z0-9_]+"), candidate) for text in made for candidate in bare
    )


def command_of(words: str) -> Any:
    """The command, maybe of a group, that `nextclick …` names; None for none."""
    found: Any = COMMAND_LINE
    for word in words.split(" ")[1:]:
        commands = getattr(found, "commands", None)
        if commands is None:
            break
        if word not in commands:
            return None
        found = commands[word]
    return found


def is_said(symptom: str) -> bool:
    """Whether the program, one of its scripts or a library it runs on says so, or has the name."""
    if symptom.startswith(PREFIX):
        return is_variable(symptom)
    if symptom.startswith("nextclick_"):
        return is_metric(symptom)
    if symptom.startswith("nextclick "):
        return command_of(symptom) is not None
    if symptom in OF_LIBRARIES:
        module, words = OF_LIBRARIES[symptom]
        found = importlib.util.find_spec(module)
        return found is not None and words in Path(found.origin or "").read_text()
    if any(symptom == m.text or matches(symptom, m.text) for m in (*ERRORS, *LOG_LINES)):
        return True
    parts = [part.strip() for part in symptom.split(GAP) if part.strip()]
    words = ".*".join(map(re.escape, parts))
    return bool(parts) and (
        any(re.search(words, text) for text in CONSTANTS) or all(part in SCRIPTS for part in parts)
    )


def is_variable(name: str) -> bool:
    name = name.split("=")[0]
    return name in SCRIPT_VARIABLES or name.removeprefix(PREFIX).lower() in Settings.model_fields


def test_every_error_has_a_row() -> None:
    assert len(ERRORS) > 100
    hold_against(ERRORS)


def test_every_log_line_of_a_warning_or_worse_has_a_row() -> None:
    assert len(LOG_LINES) > 10
    hold_against(LOG_LINES)


def test_every_alert_has_a_row_where_its_annotation_leads() -> None:
    rows = {name: row for row in ROWS for name in row.symptoms if row.section == "Alerts"}
    lacking = [name for name in alerts() if name not in rows]
    assert not lacking, "\n".join(
        f'add to {RUNBOOK}: | <a id="{address.split("#")[1]}"></a>`{name}` | MEANING | WHAT TO DO |'
        for name, address in alerts().items()
        if name in lacking
    )
    for name, address in alerts().items():
        # A template puts the address of the repository before the path, where it is known.
        file, anchor = address.rpartition("}}")[2].split("#")
        assert ROOT / file == RUNBOOK
        assert f'<a id="{anchor}"></a>' in rows[name].cells[0], f"the row of {name} lacks the anchor {anchor}"


def test_no_row_is_of_something_that_is_gone() -> None:
    known = alerts()
    gone = [
        f"line {row.line}: nothing says or is called `{symptom}`"
        for row in ROWS
        for symptom in row.symptoms
        if (symptom not in known if row.section == "Alerts" else not is_said(symptom))
    ]
    assert not gone, "\n".join(gone)


def test_every_row_has_a_symptom_a_meaning_and_what_to_do() -> None:
    for row in ROWS:
        assert len(row.cells) == 3 and all(row.cells), f"line {row.line}: {row.cells}"
        assert row.symptoms, f"line {row.line} names nothing in backticks that could be looked for"
    firsts = [row.cells[0] for row in ROWS]
    assert sorted(set(firsts)) == sorted(firsts), "a symptom has two rows"


def test_what_is_to_be_done_can_be_done() -> None:
    for row in ROWS:
        for cell in row.cells[1:]:
            for name in re.findall(rf"\b{PREFIX}[A-Z_]+", cell):
                assert is_variable(name), f"line {row.line}: no setting {name}"
            for quoted in re.findall(r"`([^`]+)`", cell):
                if quoted.startswith("nextclick "):
                    command = command_of(quoted)
                    assert command, f"line {row.line}: no command `{quoted}`"
                    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
                    for option in re.findall(r"--[a-z-]+", quoted):
                        assert option in known, f"line {row.line}: `{quoted}` has no {option}"
                if quoted.startswith("nextclick_"):
                    assert is_metric(quoted), f"line {row.line}: no metric {quoted}"
                if quoted.startswith("deploy/"):
                    assert (ROOT / quoted.split(" ")[0]).exists(), f"line {row.line}: no {quoted}"


def test_every_link_inside_leads_to_a_row_or_a_section() -> None:
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)}
    anchors = set(re.findall(r'<a id="([^"]+)">', TEXT))
    for target in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert target in headings | anchors, target
    sections = {row.section.lower().replace(" ", "-") for row in ROWS}
    listed = set(
        re.findall(r"\(#([^)]+)\)", next(line for line in TEXT.splitlines() if line.startswith("Sections")))
    )
    assert sections <= listed


@pytest.mark.parametrize(
    ("symptom", "message", "same"),
    [
        ("the store … is damaged", "the store … is damaged: …", True),
        ("the store … is damaged", "the session store … is damaged: …", False),
        ("is damaged", "the session store … is damaged: …", False),
        ("store … is damaged: …", "the session store … is damaged: …", True),
        ("the store is damaged", "the store … is damaged", False),
        ("is damaged … the store", "the store … is damaged", False),
        ("…", "…: …", False),
    ],
)
def test_a_symptom_is_a_message_by_its_words_in_order(symptom: str, message: str, same: bool) -> None:
    assert matches(symptom, message) is same


def test_messages_are_found_however_they_are_worded(tmp_path: Path) -> None:
    source = tmp_path / "worded.py"
    source.write_text(
        "class Own(NextclickError):\n"
        "    def __init__(self, code, what):\n"
        "        super().__init__(what, 'a', 'b')\n"
        "class Fixed(NextclickError):\n"
        "    def __init__(self, path):\n"
        "        super().__init__(f'{path} is fixed', 'a', 'b')\n"
        "def one(path, full):\n"
        "    raise NextclickError(f'{path} is {\"full\" if full else \"empty\"}', 'a', 'b')\n"
        "def two(path):\n"
        "    wrong = [f'{path} is wrong' for _ in path]\n"
        "    raise Own(7, '; '.join(wrong))\n"
        "def three(path):\n"
        "    raise Fixed(path)\n"
        "def four(what):\n"
        "    return NextclickError(what, 'a', 'b')\n"
        "def five():\n"
        "    raise four('it ' + 'broke')\n"
        "def six(error):\n"
        "    logger.warning('%s of %d: %.1f %%', 1, 2, 3.0)\n"
        "    logger.error('%s is %s', 1, 'gone' if error else f'at {error}')\n"
        "    raise NextclickError(error.what, 'a', 'b')\n"
    )
    found = [message.text for message in errors(tmp_path, [source])]
    assert sorted(found) == ["it broke", "… is empty", "… is fixed", "… is full", "… is wrong"]
    assert [message.text for message in log_lines(tmp_path, [source])] == [
        "… of …: … %",
        "… is at …",
        "… is gone",
    ]
