"""Markdown pages as tests see them: blocks of code, lines of shell, links, anchors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

FENCE = re.compile(r"^(\s*)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """One page of the documentation."""

    path: Path

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """The text without blocks and inline code, in which no link is one."""
        return re.sub(r"`[^`\n]*`", "``", FENCE.sub("", self.text))

    def blocks(self, language: str) -> list[str]:
        """The blocks of code in a language, in their order."""
        return [body for _, found, body in FENCE.findall(self.text) if found == language]

    def shell_lines(self) -> list[str]:
        """The commands in blocks of shell."""
        lines = (line.strip() for block in self.blocks("sh") for line in block.splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    def links(self) -> list[str]:
        """Targets of links and images that are inside the project."""
        return [target for target in re.findall(r"\]\(([^)\s]+)\)", self.prose) if "://" not in target]

    def anchors(self) -> set[str]:
        """What a link to this page may name behind #: its headings, as GitHub spells them, and its ids."""
        headings = re.findall(r"^#+ (.+)$", FENCE.sub("", self.text), re.MULTILINE)
        spelled = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        return spelled | set(re.findall(r'<a id="([^"]+)">', self.text))

    def rows(self) -> list[list[str]]:
        """The cells of all rows of all tables, headers and rules left out."""
        lines = self.text.splitlines()
        rules = {number for number, line in enumerate(lines) if re.fullmatch(r"\|[-| :]+\|", line)}
        heads = {number - 1 for number in rules}
        return [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            for number, line in enumerate(lines)
            if line.startswith("| ") and number not in rules | heads
        ]


PAGES = [
    Page(path)
    for path in (
        ROOT / "README.md",
        *sorted((ROOT / "deploy" / "docs").glob("*.md")),
        ROOT / "deploy" / "results" / "README.md",
    )
]
