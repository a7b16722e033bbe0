"""A real Chromium, pages that fail on any error of theirs, and screenshots kept for people to look at."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    expect,
    sync_playwright,
)

TIMEOUT_MS = 120_000
NUMBER = re.compile(r"\d")
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS_DIR") or Path(__file__).parent.parent / "artifacts")
# What a browser writes itself when a worker is away.
NETWORK = "Failed to load resource"

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("no chromium on the PATH: run the tests with ./tests/run")
    with sync_playwright() as playwright:
        # The sandbox asks for rights that a container's root has not.
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages of a width and a theme; in the end none of them may have had an error or a dialog."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(NETWORK):
            errors.append(message.text)

    def refuse(dialog: Dialog) -> None:
        errors.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def open_(address: str, *, width: int = 1280, height: int = 860, theme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", refuse)
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []


def choose(page: Page, query: str, clicks: int) -> None:
    """Search, choose the surest item as the click number `clicks`, and wait for its list."""
    page.fill("#search", query)
    first = page.locator("#results button").first
    expect(first).to_contain_text(query, timeout=TIMEOUT_MS)
    first.click()
    listed(page, clicks)


def listed(page: Page, clicks: int) -> None:
    """Return when each of so many clicks has its list."""
    expect(page.locator("#clicks .ms", has_text=NUMBER)).to_have_count(clicks, timeout=TIMEOUT_MS)


def ids(rows: Locator) -> list[str]:
    """The keys of rows, in order."""
    return [row.get_attribute("data-key") or "" for row in rows.all()]


def keep(page: Page, name: str) -> None:
    """Keep a screenshot of the whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
