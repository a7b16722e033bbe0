import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.replay import replay_frames
from stream.settings import Settings
from tests.browser.conftest import OpenPage, ids, keep, listed
from tests.conftest import kafka_sh, settings_of_its_own, train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import worker

pytestmark = [pytest.mark.kafka, pytest.mark.chromium]
AWAY_MS = 240_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Path]:
    """The folder of a broker of this test's own, which it may kill."""
    folder = tmp_path / "kafka"
    kafka_sh("start", folder)
    yield folder
    kafka_sh("kill", folder, check=False)


def test_a_page_says_that_kafka_is_away_and_goes_on_by_itself(
    broker: Path, shoppers: SyntheticLog, open_page: OpenPage, tmp_path: Path
) -> None:
    address = kafka_sh("address", broker).stdout.strip()
    settings = settings_of_its_own(address, tmp_path)
    train_small(shoppers, Registry(settings.registry_dir), network="pop", exclude_session_items=True)
    with worker(settings, tmp_path) as process:
        page = open_page(process.address)
        expect(page.locator("#state")).to_have_text("serving")

        # Where no events are taken, the lists are computed and nothing is sent.
        page.locator("#results button").nth(1).click()
        listed(page, 1)
        expect(page.locator("#try-note")).to_contain_text("nothing is sent")
        assert len(ids(page.locator("#list > li"))) == 20
        expect(page.locator("#end")).to_be_disabled()
        request = urllib.request.Request(
            f"{process.address}/api/events", b"{}", {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(request, timeout=60)
        status = process.status()
        assert status is not None
        assert status["accounting"]["read"] == 0

        kafka_sh("kill", broker)
        expect(page.locator("#notice")).to_contain_text("Kafka has not answered since", timeout=AWAY_MS)
        expect(page.locator("#state")).to_have_text("Kafka is away")
        keep(page, "kafka-away-light-1280")
        kafka_sh("start", broker)
        with supervised(process, settings, tmp_path):
            expect(page.locator("#state")).to_have_text("serving", timeout=AWAY_MS)
            expect(page.locator("#notice")).to_be_hidden()
            page.click("nav [data-view=live]")
            replay_frames(settings, [shoppers.frame.head(300)])
            expect(page.locator("#tiles")).to_contain_text("300 lists so far", timeout=AWAY_MS)
            shown_in_words(page, process.address)


@contextmanager
def supervised(process: WorkerProcess, settings: Settings, folder: Path) -> Iterator[None]:
    """A worker that ended because Kafka was away for long on a busy machine is started again, as anywhere."""
    running, is_over = [process], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.2):
            if running[-1].process.poll() is not None:
                running.append(WorkerProcess(settings, folder / "again.log"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        for one in running:
            one.kill()


def shown_in_words(page: Any, address: str) -> None:
    """States that pass too quickly to be met: the page is told of them in the worker's stead."""
    with urllib.request.urlopen(f"{address}/api/live", timeout=60) as answer:
        now = json.load(answer)
    told: list[dict[str, Any]] = []

    def tell(route: Route) -> None:
        lines = f"retry: 200\n\ndata: {json.dumps(told[-1])}\n\n"
        route.fulfill(body=lines, content_type="text/event-stream")

    page.route("**/api/stream", tell)
    recovering = {"0": {"done": 250, "total": 1000}, "1": {"done": 50, "total": 1000}}
    told.append({**now, "ready": False, "recovering": recovering})
    page.reload()
    expect(page.locator("#notice")).to_contain_text("partition 0, 1: 300 of 2,000 events read")
    expect(page.locator("#notice progress")).to_have_attribute("value", "0.15")
    keep(page, "recovering-light-1280")
    told.append({**now, "ready": False, "model": None})
    expect(page.locator("#notice")).to_contain_text("No model serves yet")
    told.append({**now, "ready": False})
    expect(page.locator("#notice")).to_contain_text("waits for its partitions")
    told.append({**now, "lag": 12_345, "level": 2})
    expect(page.locator("#notice")).to_contain_text("12,345 events wait")
    told.append(now)
    expect(page.locator("#notice")).to_be_hidden()
