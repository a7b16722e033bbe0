"""The example shop, clicked through in a real browser beside a real worker."""

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from tests.browser.conftest import TIMEOUT_MS, OpenPage, keep
from tests.conftest import ROOT, settings_of_its_own, train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import worker

pytestmark = [pytest.mark.kafka, pytest.mark.chromium]
SHOP = ROOT / "deploy" / "examples" / "shop"
MOST_LINES = 200


@pytest.fixture(scope="module")
def process(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    folder = tmp_path_factory.mktemp("shop")
    settings = settings_of_its_own(kafka, folder, web_events=True)
    made = markov_shoppers(sessions=300, items=30, seed=7)
    titles = made.frame["item_id"].map(lambda item: "<b>mug</b>" if item == "i1" else f"thing {item}")
    train_small(replace(made, frame=made.frame.assign(title=titles)), Registry(settings.registry_dir))
    with worker(settings, folder) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def address(process: WorkerProcess) -> Iterator[str]:
    words = [sys.executable, str(SHOP / "shop.py")]
    environment = {"WORKER": process.address, "PORT": "0"}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as shop:
        assert shop.stdout is not None
        yield shop.stdout.readline().split()[2].rstrip(",")
        shop.kill()


def test_a_click_brings_a_list_of_what_goes_on_from_it(open_page: OpenPage, address: str) -> None:
    page = open_page(address)
    expect(page.locator("#products li")).to_have_count(12, timeout=TIMEOUT_MS)
    # Nobody has clicked yet: what is popular.
    expect(page.locator("#list li")).to_have_count(6, timeout=TIMEOUT_MS)
    page.fill("#query", "mug")
    # A title is text, whatever it looks like.
    expect(page.locator("#products li span").first).to_have_text("<b>mug</b>", timeout=TIMEOUT_MS)
    page.locator("#products li").first.get_by_role("button", name="Look").click()
    expect(page.locator("#said")).to_have_text("after <b>mug</b>", timeout=TIMEOUT_MS)
    expect(page.locator("#list li")).to_have_count(6, timeout=TIMEOUT_MS)
    keep(page, "shop")
    # It is the same visitor after a new start of the page, and the cookie is no script's.
    shown = page.locator("#list span").all_inner_texts()
    page.reload()
    expect(page.locator("#list span")).to_have_text(shown, timeout=TIMEOUT_MS)
    assert page.evaluate("document.cookie") == ""


def test_it_fits_a_telephone(open_page: OpenPage, address: str) -> None:
    page = open_page(address, width=360)
    expect(page.locator("#products li")).to_have_count(12, timeout=TIMEOUT_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    keep(page, "shop_360")


def test_what_a_browser_may_not_say_is_refused_and_the_shop_goes_on_without_a_worker(
    address: str,
) -> None:
    for body in (b'{"item_id": 7}', b'{"item_id": "i1", "kind": "forget"}', b"{", b"[]", b"7"):
        request = urllib.request.Request(f"{address}/click", body, {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        with refused.value as refusal:
            assert refusal.code == 400
    words = [sys.executable, str(SHOP / "shop.py")]
    environment = {"WORKER": "http://127.0.0.1:9", "PORT": "0"}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as shop:
        assert shop.stdout is not None
        alone = shop.stdout.readline().split()[2].rstrip(",")
        with urllib.request.urlopen(f"{alone}/list", timeout=60) as answer:
            assert answer.read() == b'{"items": []}'
        shop.kill()


def test_there_is_little_to_copy() -> None:
    assert sum(len(path.read_text().splitlines()) for path in SHOP.iterdir() if path.is_file()) <= MOST_LINES
