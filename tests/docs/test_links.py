"""Every link of the documentation leads to a file, and to a section where it names one."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.harness.pages import PAGES, Page


def name(page: Page) -> str:
    return str(page.path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_section(page: Page) -> None:
    for link in page.links():
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), f"{name(page)}: there is no {target}"
        if anchor:
            assert path.suffix == ".md", f"{name(page)}: {link} names a section of what is no page"
            assert anchor in Page(path).anchors(), f"{name(page)}: {link} names a section that is not there"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md" or not path.exists():
            continue
        reached.add(path)
        waiting += [
            (path.parent / link.split("#")[0]).resolve() for link in Page(path).links() if link[0] != "#"
        ]
    pages = {page.path for page in PAGES} | set((ROOT / "deploy" / "results").glob("*.md"))
    assert not pages - reached


def test_a_link_is_told_from_code(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.md")
    page.path.write_text("# A `b`: C d\n[x](y.md#z) `[no](code)`\n```sh\n# no heading\n[no](block)\n```\n")
    assert page.links() == ["y.md#z"]
    assert page.anchors() == {"a-b-c-d"}
    assert page.shell_lines() == ["[no](block)"]
