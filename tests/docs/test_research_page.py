"""The page of the research names the command of every figure that is ours."""

import re

import pytest

from replay.studies.study import names
from tests.conftest import ROOT
from tests.harness.pages import Page
from tests.harness.shown_commands import fault_of

PAGE = Page(ROOT / "deploy" / "docs" / "research.md")
PUBLISHED = ("**What the report says.**", "**What the paper says.**")
# What is set is no measurement: of that only speed and memory are.
SET = "**What we changed, and why.**"
COST = re.compile(r"\d (?:events/s|ms|µs|MiB|GB)\b")
FIGURE = re.compile(rf"(?<![\w.,/])\d*\.\d{{3,}}|{COST.pattern}")
COMMAND = re.compile(r"`(nextclick [^`]+)`")
RESULTS = re.compile(r"\]\((\.\./results/\w+\.md)[)#]")


def blocks(text: str) -> list[str]:
    """Paragraphs without headings, each with the shell blocks after it."""
    found: list[str] = []
    for block in re.split(r"\n\n(?=\S)", re.sub(r"^#.*\n+", "", text, flags=re.MULTILINE)):
        if block.startswith("```sh") and found:
            found[-1] += "\n\n" + block
        else:
            found.append(block)
    return found


def commands_of(block: str) -> list[str]:
    """The commands in a block, inline or of shell; a line that ends with a backslash goes on."""
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", block, re.DOTALL)).replace("\\\n", " ")
    lines = [line.strip() for line in shell.splitlines()]
    inline = COMMAND.findall(re.sub(r"```sh\n.*?```", "", block, flags=re.DOTALL))
    return inline + [line for line in lines if line.startswith("nextclick ")]


def logs() -> set[str]:
    """The names of logs that the page says are the reader's to bring."""
    line = re.search(r"^Logs of the commands: (.+)$", PAGE.text, re.MULTILINE)
    assert line is not None
    return set(re.findall(r"`([\w./-]+)`", line[1]))


def without_command(text: str) -> list[str]:
    """The blocks that have a figure of ours and neither a command nor a page of results that has one."""
    missing = []
    for block in blocks(text):
        if block.startswith(PUBLISHED) or block.startswith("| system"):
            continue
        figure = COST if block.startswith(SET) else FIGURE
        said = COMMAND.sub("", re.sub(r"```sh\n.*?```", "", block, flags=re.DOTALL))
        if figure.search(said) and not commands_of(block) and not RESULTS.search(block):
            missing.append(block)
    return missing


def shown(page: str) -> str:
    return (PAGE.path.parent / page).read_text()


def missing_from(text: str, pages: list[str]) -> list[str]:
    """The figures of a text that none of the pages of results has, rounded as the text does."""
    measured = {
        float(f"0{text}") for page in pages for text in re.findall(r"(?<!\d)0?(\.\d{3,})", shown(page))
    }
    figures = re.findall(r"(?<![\w.])(\.\d{2,})", text)
    return [
        figure
        for figure in figures
        if not any(abs(one - float(figure)) <= 0.51 * 10.0 ** (1 - len(figure)) for one in measured)
    ]


def system_rows() -> list[list[str]]:
    table = next(block for block in blocks(PAGE.text) if block.startswith("| system"))
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in table.splitlines()[2:]]


def test_every_figure_of_ours_has_its_command() -> None:
    assert without_command(PAGE.text) == []


def test_a_figure_that_links_to_a_page_of_results_is_there() -> None:
    for block in blocks(PAGE.text):
        pages = RESULTS.findall(block)
        if pages and FIGURE.search(block) and not block.startswith(("| system", *PUBLISHED, SET)):
            assert not missing_from(COMMAND.sub("", block), pages), block
    assert missing_from("Recall@20 .9712 of .696", ["../results/rsc15.md"]) == [".9712"]


def test_a_figure_without_a_command_would_be_found() -> None:
    bare = "**What we found.** Recall@20 .470 against .621."
    assert without_command(f"# Title\n\n{bare}\n\nAnother paragraph.") == [bare]
    assert not without_command(f"{bare} `nextclick compare x.csv`")
    assert not without_command(f"{bare}\n\n```sh\nnextclick compare x.csv\n```")
    assert not without_command("**What the paper says.** Recall@20 .1603.")


@pytest.mark.parametrize("row", system_rows(), ids=[row[0] for row in system_rows()])
def test_every_row_of_the_systems_has_the_command_or_the_page_of_its_figures(row: list[str]) -> None:
    _, _, _, ours, made_by = row
    pages, commands = RESULTS.findall(f"{ours} {made_by}"), COMMAND.findall(made_by)
    assert pages or commands
    assert all("nextclick " in shown(page) for page in pages)
    if not commands:
        assert not missing_from(ours, pages)


def test_every_command_of_the_page_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    commands = [command for block in blocks(PAGE.text) for command in commands_of(block)]
    assert len(commands) > 10
    assert {command: fault for command in commands if (fault := fault_of(command, logs()))} == {}
    unused = [log for log in logs() if not any(log in command.split() for command in commands)]
    assert unused == [], "the page asks for logs that no command reads"


def test_every_study_is_made_again_by_a_command_of_the_page() -> None:
    shown = {
        command.split()[2] for command in PAGE.shell_lines() if command.startswith("nextclick reproduce")
    }
    assert shown == set(names())


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("nextclick compere x.csv", "no command compere"),
        ("nextclick compare x.csv --setting epochs=1", "--setting"),
        ("nextclick compare y.csv", "no y.csv"),
        ("nextclick compare x.csv --test-fraction half", "valid number"),
        ("nextclick compare x.csv --models bert", "bert"),
        ("nextclick compare x.csv --models gru4rec:epoch=1", "epoch"),
        ("nextclick compare x.csv --models gru4rec=deploy/params/none.toml", "none.toml"),
        ("nextclick compare x.csv --variants deploy/params/product-sequences.toml --only v99", "v99"),
        ("nextclick reproduce bert --log x.csv", "bert"),
        ("nextclick reproduce user-gru --log x.csv --only bert", "bert"),
        ("nextclick bench network --items 5", "no benchmark network"),
        ("nextclick bench networks --item 5", "no --item"),
        ("nextclick bench networks --models bert --items 5", "bert"),
    ],
)
def test_a_command_that_cannot_run_would_be_found(
    command: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert fault in fault_of(command, {"x.csv"})
