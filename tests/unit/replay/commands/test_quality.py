import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from model.errors import NextclickError
from replay.commands.quality import NAMES, as_dict, collect, points_of, quality
from stream.quality.observed_event import ObservedEvent
from stream.quality.prequential import Prequential
from stream.quality.windows import BUCKET_MS

START_MS = 1_700_000_000_000 // BUCKET_MS * BUCKET_MS
HOUR_MS = 3_600_000


def scored(first_ms: int, count: int, fading: float = 0.99) -> Prequential:
    """One hit every minute."""
    prequential = Prequential(1000, fading)
    for n in range(count):
        now_ms = first_ms + 60_000 * n
        prequential.add([ObservedEvent(0, now_ms, now_ms, f"s{n}", "i", True, 1, "v", 1, 0, ())])
    return prequential


@contextmanager
def web(prequential: Prequential) -> Iterator[str]:
    """A worker's view of quality; → its address."""

    class View(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            until = parse_qs(urlsplit(self.path).query).get("until_ms")
            body = prequential.sums(int(until[0]) if until else None).to_json()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Nothing: the tests' output is not its log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), View)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_windows_of_all_workers_end_where_the_farthest_ends() -> None:
    with web(scored(START_MS, 120)) as behind, web(scored(START_MS, 150)) as ahead:
        for workers in ([behind, ahead], [ahead, behind]):
            sums = collect(workers)
            assert sums.until_ms == START_MS + 150 * 60_000
            # The one ahead has 60 of its minutes in the hour, the one behind the 30 that lie in it.
            windows = as_dict(sums, 2)["windows"]
            assert windows["1h"]["all"]["all"]["champion"]["events"] == 90
            assert windows["24h"]["all"]["all"]["champion"]["events"] == 270


def test_a_worker_that_is_named_twice_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    with web(scored(START_MS, 100)) as address:
        quality(worker=[address, f"{address}/", address], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["workers"] == 1
    assert found["windows"]["total"]["all"]["all"]["champion"]["events"] == 100


def test_workers_with_different_settings_are_not_added() -> None:
    with web(scored(START_MS, 10)) as one, web(scored(START_MS, 10, fading=0.5)) as other:
        with pytest.raises(NextclickError) as refused:
            collect([one, other])
        assert "NEXTCLICK_QUALITY_FADING" in refused.value.remedy


def test_points_cover_the_whole_time_and_leave_gaps_where_nothing_was_scored() -> None:
    prequential = scored(START_MS, 60)
    night_ms = START_MS + 10 * HOUR_MS
    for n in range(120):
        now_ms = night_ms + 60_000 * n
        prequential.add([ObservedEvent(0, now_ms, now_ms, f"s{n}", "i", True, 1, "v", 0, 0, ())])
    points = points_of(prequential.sums(), most=12)
    assert len(points) == 12
    assert all(START_MS < middle_ms < night_ms + 2 * HOUR_MS for middle_ms in points)
    recalls = [systems[NAMES["champion"]].mean if systems else None for systems in points.values()]
    assert recalls == [1.0, *[None] * 9, 0.0, 0.0]
    assert points_of(Prequential(100, 0.9).sums()) == {}
