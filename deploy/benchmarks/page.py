"""The live page: first paint, bytes, click to list through Kafka, and what open pages cost the worker's rate.

First paint is Chromium's first-contentful-paint, in fresh profiles, on a worker at rest. Click to list
is timed in the page, from the click to the drawn list; event and list both pass through Kafka. The cost
is the worker's events/s on a backlog with many open streams beside the rate without any, in turns, and
its core time per event, which other load on the machine affects less. Another process reads the
streams and discards what it reads.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from deploy.benchmarks.measure.process import (
    Observation,
    broker,
    follow_worker,
    machine,
    settings_of_run,
    show,
)
from deploy.benchmarks.measure.run_program import run_program
from deploy.benchmarks.stream import trained
from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from replay.datasets.event_files import EventFiles
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.kafka.topics import ensure_topics
from stream.settings import Settings

PAINT = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0]"
READER = """
import socket, sys, selectors, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ready, taken = selectors.DefaultSelector(), 0
for number in range(count):
    one = socket.create_connection((host, port))
    one.sendall(f"GET /api/stream HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n".encode())
    ready.register(one, selectors.EVENT_READ)
    time.sleep(0.02)
print("open", flush=True)
while True:
    for key, _ in ready.select():
        if not key.fileobj.recv(1 << 16):
            sys.exit("a stream was closed")
"""


@contextmanager
def open_streams(settings: Settings, count: int) -> Iterator[None]:
    """So many readers of the stream that a page reads, while the worker serves."""
    command = [sys.executable, "-c", READER, settings.web_host, str(settings.web_port), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "open\n":
                raise NextclickError(
                    "the streams could not be opened", "There is no result.", "Run it again."
                )
            yield
            if process.poll() is not None:
                # Before the worker is told to end.
                raise NextclickError("a stream was closed", "The cost is not known.", "See the worker's log.")
        finally:
            process.kill()


def answers_of(page: Page) -> list[Response]:
    """What comes to the page from now on."""
    answers: list[Response] = []

    def heard(response: Response) -> None:
        answers.append(response)

    page.on("response", heard)
    return answers


def paint(browser: Browser, address: str, loads: int) -> dict[str, Any]:
    """First contentful paint of fresh profiles, and the bytes of all that the page and its charts load."""
    times_ms, sent, whole = [], 0, 0
    for _ in range(loads):
        context = browser.new_context()
        page = context.new_page()
        answers = answers_of(page)
        page.goto(address)
        expect(page.locator("#state")).to_have_text("serving")
        times_ms.append(float(page.evaluate(PAINT)))
        page.click("nav [data-view=live]")
        expect(page.locator("#charts canvas")).to_have_count(4)
        files = [one for one in answers if "/page/" in one.url or one.url.rstrip("/") == address]
        sent = sum(one.request.sizes()["responseBodySize"] for one in files)
        whole = sum(len(one.body()) for one in files)
        context.close()
    return {
        "first_paint_ms": {"median": round(float(np.median(times_ms)), 1), "max": round(max(times_ms), 1)},
        "page_bytes_sent": sent,
        "page_bytes": whole,
    }


def click(browser: Browser, address: str, clicks: int) -> dict[str, Any]:
    """Milliseconds from a click to its drawn list, of a visitor who takes the list's items one by one."""
    page = browser.new_context().new_page()
    page.goto(address)
    took_ms: list[float] = []
    rows = page.locator("#clicks .ms", has_text=re.compile(r"\d"))
    page.locator("#results button").first.click()
    expect(rows).to_have_count(1)
    while len(took_ms) < clicks:
        before = rows.count()
        if before == 20:
            page.click("#over")
            page.locator("#results button").nth(len(took_ms) % 10).click()
            expect(rows).to_have_count(1)
            continue
        # What the page itself measured, which it writes beside the click.
        page.locator("#list button").nth(len(took_ms) % 20).click()
        expect(rows).to_have_count(before + 1)
        number, unit = rows.last.inner_text().split()
        took_ms.append(float(number) * (1 if unit == "ms" else 1000))
    page.context.close()
    p50, p95, p99 = np.percentile(took_ms, [50, 95, 99], method="higher").tolist()
    return {"click_to_list_ms": {"p50": p50, "p95": p95, "p99": p99}, "clicks": clicks}


def rate(settings: Settings, folder: Path, run: int, events: int, pages: int) -> tuple[float, float]:
    """Events/s of a worker on the backlog with so many open pages, and its core-microseconds per event."""
    changes = {
        "group_id": f"{settings.group_id}-{run}",
        "state_dir": folder / f"state-{run}",
        "web_port": free_port(),
    }
    settings = settings.model_copy(update=changes)
    worker = WorkerProcess(settings, folder / f"worker-{run}.log")
    try:
        deadline_s = time.monotonic() + 60
        while worker.status() is None and time.monotonic() < deadline_s:
            worker.check()
            time.sleep(0.02)
        observation = Observation(worker.process.pid)
        with open_streams(settings, pages):
            follow_worker(worker, events, observation, timeout_s=60)
        return observation.rate, observation.core_us_per_event
    finally:
        worker.stop()


def cost(settings: Settings, folder: Path, frame: pd.DataFrame, pages: int, rounds: int) -> dict[str, Any]:
    """The rate with and without open pages, in turn, and what the pages take of it."""
    replay_frames(settings, [frame])
    found: dict[int, list[tuple[float, float]]] = {0: [], pages: []}
    for run in range(2 * rounds):
        # 0 n n 0: a machine that grows slower favours neither.
        open_ = pages if run % 4 in (1, 2) else 0
        found[open_].append(rate(settings, folder, run, len(frame), open_))
    (rate_without, us_without), (rate_with, us_with) = (np.median(found[n], axis=0) for n in (0, pages))
    return {
        "pages": pages,
        "events_per_s_without_pages": [round(of) for of, _ in found[0]],
        "events_per_s_with_pages": [round(of) for of, _ in found[pages]],
        "core_us_per_event_without_pages": [round(us, 1) for _, us in found[0]],
        "core_us_per_event_with_pages": [round(us, 1) for _, us in found[pages]],
        "rate_lost_percent": round(float(100 * (1 - rate_with / rate_without)), 2),
        "core_time_more_percent": round(float(100 * (us_with / us_without - 1)), 2),
    }


def main() -> int:
    """Measure all three; print them."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench page",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench page clicks.csv.xz --pages 50",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--events", type=int, default=60_000, help="of the backlog")
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2, help="runs with pages, and as many without")
    parser.add_argument("--clicks", type=int, default=100)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true", dest="as_json")
    arguments = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        parser.error("there is no chromium on the PATH")
    frame = EventFiles(arguments.files, on_error="skip").load().head(arguments.events)
    config = ModelConfig(epochs=1, exclude_session_items=True)
    vocabulary = Vocabulary.from_frame(frame)
    with (
        tempfile.TemporaryDirectory(prefix="nextclick-bench-") as temporary,
        broker(arguments.bootstrap_servers, Path(temporary)) as (address, _),
    ):
        folder = Path(temporary)
        # A visitor that a program plays is quicker than the rate that one client is allowed.
        changes = {"web_events": True, "web_port": free_port(), "web_requests_per_s": 10_000}
        settings = settings_of_run("page", address, folder, **changes)
        ensure_topics(settings)
        registry = Registry(settings.registry_dir)
        network = trained(frame, vocabulary, config)
        registry.promote(registry.save(TrainedModel(network, config, vocabulary), scores={}, data={}).version)
        worker = WorkerProcess(settings, folder / "worker.log")
        try:
            worker.wait_ready()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
                expect.set_options(timeout=20_000)
                result = {
                    "items": len(vocabulary),
                    **paint(browser, worker.address, arguments.loads),
                    **click(browser, worker.address, arguments.clicks),
                }
                browser.close()
        finally:
            worker.stop()
        result |= cost(settings, folder, frame, arguments.pages, arguments.rounds)
    show({**result, "machine": machine()}, arguments.as_json, json.dumps)
    return 0


if __name__ == "__main__":
    run_program(main)
