import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from axe_playwright_python.sync_playwright import Axe
from confluent_kafka.admin import AdminClient
from playwright.sync_api import expect
from typer.testing import CliRunner

import nextclick
from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.kafka.partitioner import partition_of
from stream.kafka.topics import plans
from stream.settings import Settings
from stream.web.static_files import FOLDER
from tests.browser.conftest import OpenPage, choose, ids, keep, listed
from tests.conftest import settings_of_its_own, train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import worker

pytestmark = [pytest.mark.kafka, pytest.mark.chromium]
HOSTILE = {
    "i0": "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "i1": "\u202e\u202etfel ot thgir \u2066\u200f",
    "i2": "endless" * 715,
    "i3": "</li></ol>'\"--><b>bold",
}
VIEWS = ("try", "live", "sessions", "models", "rules")
DOCUMENT = json.loads((FOLDER / "openapi.json").read_bytes())


@pytest.fixture(scope="module")
def log() -> SyntheticLog:
    made = markov_shoppers(sessions=600, items=60, seed=7)
    titles = made.frame["item_id"].map(lambda item: HOSTILE.get(item, f"thing {item}"))
    return replace(made, frame=made.frame.assign(title=titles))


@pytest.fixture(scope="module")
def settings(kafka: str, log: SyntheticLog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    made = settings_of_its_own(kafka, tmp_path_factory.mktemp("page"), web_events=True)
    train_small(log, Registry(made.registry_dir), network="fused", exclude_session_items=True)
    yield made
    admin = AdminClient(made.kafka_config())
    for future in admin.delete_topics([plan.name for plan in plans(made)]).values():
        future.result(timeout=120)


@pytest.fixture(scope="module")
def process(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    with worker(settings, tmp_path_factory.mktemp("worker")) as made:
        yield made


def get(process: WorkerProcess, path: str) -> Any:
    with urllib.request.urlopen(process.address + path, timeout=60) as answer:
        return json.load(answer)


def in_ms(ahead_ms: int) -> int:
    """The wall time so many milliseconds from now."""
    return int(time.time() * 1000) + ahead_ms


def post(process: WorkerProcess, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{process.address}/api/events", body, {"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def valid(body: Any, path: str, method: str = "get") -> Any:
    schema = DOCUMENT["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(body, {**schema, "components": DOCUMENT["components"]})
    return body


def test_every_choice_changes_the_list_which_is_that_of_the_command(
    process: WorkerProcess, settings: Settings, open_page: OpenPage
) -> None:
    page = open_page(process.address)
    lists: list[list[str]] = []
    for number, item in enumerate(("i7", "i20", "i41"), 1):
        choose(page, f"thing {item}", number)
        expect(page.locator("#list-facts [data-key=position] dd")).to_have_text(str(number))
        lists.append(ids(page.locator("#list > li")))
    assert len({tuple(shown) for shown in lists}) == 3
    assert lists[1] != lists[2]
    expect(page.locator("#list .move[data-move=new]")).to_have_count(len(set(lists[2]) - set(lists[1])))
    expect(page.locator("#left bdi")).to_have_count(len(set(lists[1]) - set(lists[2])))

    page.click("#copy")
    expect(page.locator("#try-note")).to_contain_text("nextclick recommend")
    command = shlex.split(page.inner_text("#try-note").partition("nextclick ")[2])
    ran = CliRunner().invoke(nextclick.app, [*command, "--json", "--registry", str(settings.registry_dir)])
    assert ran.exit_code == 0, ran.output
    expected = json.loads(ran.stdout)
    assert lists[2] == [one["id"] for one in expected["recommended"]]
    session = page.inner_text("#try-id")
    shown = valid(get(process, f"/api/recommendations/{session}"), "/api/recommendations/{session_id}")
    assert [one["item_id"] for one in shown["items"]] == lists[2]
    assert [one["score"] for one in shown["items"]] == pytest.approx(
        [one["score"] for one in expected["recommended"]], rel=1e-4
    )
    assert shown["position"] == 3

    # An item of the list is a choice too; what was chosen is listed no more.
    page.locator("#list button").nth(2).click()
    listed(page, 4)
    assert lists[2][2] not in ids(page.locator("#list > li"))
    page.click("#end")
    expect(page.locator("#clicks > li")).to_have_count(5)
    expect(page.locator("#try-note")).to_contain_text("has ended")
    choose(page, "thing i7", 1)
    assert page.inner_text("#try-id") != session
    assert ids(page.locator("#list > li")) == lists[0]
    page.click("#over")
    expect(page.locator("#list > li")).to_have_count(0)


def test_pointing_at_an_item_tells_the_click_that_caused_it(
    process: WorkerProcess, open_page: OpenPage
) -> None:
    page = open_page(process.address)
    for number, item in enumerate(("i9", "i30", "i52"), 1):
        choose(page, f"thing {item}", number)
    found = valid(get(process, "/api/why?item=i9&item=i30&item=i52"), "/api/why")
    assert [one["item_id"] for one in found["items"]] == ids(page.locator("#list > li"))
    caused = [one for one in found["items"] if one["cause"] is not None]
    assert {one["cause"] for one in caused} > {2}, "no earlier click caused anything"
    for one in (caused[0], next(one for one in caused if one["cause"] != caused[0]["cause"])):
        button = page.locator(f"#list li[data-key={one['item_id']}] button")
        button.focus()
        cause = f"(click {one['cause'] + 1})"
        expect(page.locator("#why")).to_contain_text(cause)
        expect(page.locator("#clicks li[data-cause]")).to_have_count(1)
        expect(page.locator("#clicks > li").nth(one["cause"])).to_have_attribute("data-cause", "yes")
        same = [other["item_id"] for other in caused if other["cause"] == one["cause"]]
        assert ids(page.locator("#list li[data-caused]")) == same
    keep(page, "try-light-1280")


def test_charts_move_during_a_replay(
    process: WorkerProcess, settings: Settings, log: SyntheticLog, open_page: OpenPage
) -> None:
    page = open_page(f"{process.address}/#live")
    charts = page.locator("#charts canvas")
    expect(charts).to_have_count(4)
    expect(page.locator("#tiles dd").first).not_to_be_empty()
    before = [chart.screenshot() for chart in charts.all()]
    lists = get(process, "/api/live")["lists"]
    replay_frames(settings, [log.frame])
    expect(page.locator("#tiles")).to_contain_text(f"{lists + len(log.frame):,} lists so far")
    expect(page.locator("#newest > li").first).to_be_visible()
    expect(page.locator("#account")).to_contain_text("read")
    after = [chart.screenshot() for chart in charts.all()]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True] * 4
    now = valid(get(process, "/api/live"), "/api/live")
    recall, low, high = now["quality"]["champion"]["recall_at_20"]
    assert low < recall < high
    legend = page.locator("#charts .legend").first
    expect(legend).to_contain_text(f"{recall:.3f}")
    expect(legend).to_contain_text(f"{low:.3f} to {high:.3f}")
    history = valid(get(process, "/api/live/history"), "/api/live/history")
    assert len({len(column) for column in history.values()}) == 1
    keep(page, "live-light-1280")

    page.click("#pause")
    shown = ids(page.locator("#newest > li"))
    replay_frames(settings, [log.frame.head(500)])
    expect(page.locator("#tiles")).to_contain_text(f"{lists + len(log.frame) + 500:,} lists so far")
    assert ids(page.locator("#newest > li")) == shown


def test_hostile_titles_do_no_harm(process: WorkerProcess, open_page: OpenPage) -> None:
    page = open_page(process.address, width=360, height=780)
    for number, part in enumerate(("<script>", "tfel ot thgir", "endless", "bold"), 1):
        choose(page, part, number)
        page.locator("#list button").first.focus()
        expect(page.locator("#why")).not_to_be_empty()
    assert page.title() == "nextclick"
    assert page.locator("main script, main img, main b, #clicks ol").count() == 0
    # Neither a long word nor a right-to-left mark reaches beyond its own place.
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert all("\u202e" not in text for text in page.locator(".ms, .rank, .count").all_inner_texts())
    session = page.inner_text("#try-id")
    keep(page, "hostile-light-360")
    page.goto(f"{process.address}/#sessions/{session}")
    expect(page.locator("#found-session .card")).to_have_count(4)
    expect(page.locator("#found-session .ranked").first).to_contain_text("<script>")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    found = get(process, "/api/items?q=endless")["items"][0]
    assert len(found["title"]) == 300


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_is_without_violations_of_accessibility(
    process: WorkerProcess, open_page: OpenPage, theme: str
) -> None:
    page = open_page(process.address, theme=theme)
    choose(page, "thing i7", 1)
    choose(page, "thing i20", 2)
    page.locator("#list button").nth(1).focus()
    expect(page.locator("#why strong").first).to_be_visible()
    session = page.inner_text("#try-id")
    for view in VIEWS:
        page.locator(f"nav [data-view={view}]").click()
        expect(page.locator(f"#view-{view}")).to_be_visible()
        if view == "sessions":
            page.fill("#session", session)
            page.keyboard.press("Enter")
            expect(page.locator("#found-session .card").first).to_be_visible()
        if view == "models":
            expect(page.locator("#versions tbody tr")).to_have_count(1)
            # The list, and the sources that stand still.
            expect(page.locator("#sources tbody tr")).to_have_count(6)
        if view == "rules":
            expect(page.locator("#held li")).to_have_count(2)
            page.fill("#trial-session", session)
            page.fill("#trial-about", "never heard of")
            page.keyboard.press("Enter")
            expect(page.locator("#tried .ranked li")).to_have_count(20)
            expect(page.locator("#tried")).to_contain_text("does not know it")
            expect(page.locator("#items-table tbody tr")).to_have_count(30)
        if view == "live":
            expect(page.locator("#charts canvas")).to_have_count(4)
            expect(page.locator("#tiles dd").first).not_to_be_empty()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        for width in (360, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, width)
            keep(page, f"{view}-{theme}-{width}")
        page.set_viewport_size({"width": 1280, "height": 860})


def test_the_switch_overrides_the_systems_theme_and_is_kept(
    process: WorkerProcess, open_page: OpenPage
) -> None:
    page = open_page(process.address, theme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.click("#theme")
    expect(page.locator("#theme")).to_have_text("Theme: light")
    assert page.evaluate(background) != dark
    page.reload()
    expect(page.locator("#theme")).to_have_text("Theme: light")
    assert page.evaluate(background) != dark


def test_what_is_no_event_is_refused_with_its_reason_and_what_is_one_is_answered_with_its_list(
    process: WorkerProcess,
) -> None:
    before = get(process, "/api/live")["posted"]
    for body, reason in (
        (b"", "empty"),
        (b"\xff", "not_json"),
        (b"[1]", "schema"),
        (b'{"item_id":"i7"}', "schema"),
        (b'{"session_id":"","item_id":"i7"}', "schema"),
        (b'{"session_id":"s","item_id":7}', "schema"),
        (b'{"session_id":"s"}', "empty_id"),
        (b'{"session_id":"s","item_id":"i7","event_time_ms":4102444799999}', "future"),
        (b'{"session_id":"s","item_id":"i7","event_time_ms":%d}' % in_ms(55 * 60_000), "future"),
        (b'{"session_id":"s","item_id":"i7","event_time_ms":%d}' % in_ms(-55 * 60_000), "past"),
    ):
        status, answer = post(process, body)
        assert (status, answer.get("reason")) == (400, reason), body
    assert post(process, b" " * 70_000)[0] == 413
    assert post(process, b"{}", **{"Content-Type": "text/plain"})[0] == 415
    assert post(process, b'{"session_id":"s","item_id":"i7"}', Origin="http://elsewhere.example")[0] == 403
    status, answer = post(process, b'{"session_id":"by-http","item_id":"never-seen"}')
    assert status == 200
    valid(answer, "/api/events", "post")
    assert answer["list"]["fallback"] == "empty_session"
    assert answer["list"]["event_id"] == answer["event_id"]
    assert post(process, b'{"session_id":"by-http","kind":"session_end"}')[1]["list"] is None
    for path in ("/api/items?limit=0", "/api/items?limit=x", f"/api/items?q={'x' * 201}", "/api/why"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            get(process, path)
    # As of the next second.
    process.wait_until(lambda _: get(process, "/api/live")["posted"] == before + 2, "two posted events")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/items", "/api/items?q=thing&limit=3"),
        ("/api/models", "/api/models"),
        ("/api/rules", "/api/rules"),
        ("/api/tries", "/api/tries?item=i7&item=i20&about=i8"),
        ("/api/status", "/api/status"),
        ("/api/quality", "/api/quality"),
        ("/health", "/health"),
        ("/ready", "/ready"),
    ],
)
def test_answers_are_as_the_openapi_document_says(process: WorkerProcess, path: str, asked: str) -> None:
    valid(get(process, asked), path)
    assert get(process, "/openapi.json") == DOCUMENT


def test_a_list_made_by_another_worker_comes_to_the_page_too(
    process: WorkerProcess, settings: Settings, open_page: OpenPage, tmp_path: Path
) -> None:
    other = settings.model_copy(
        update={
            "worker_id": f"{settings.worker_id}-2",
            "web_port": free_port(),
            "state_dir": tmp_path / "state",
        }
    )
    with worker(other, tmp_path) as second:
        process.wait_until(lambda status: len(status["partitions"]) == 1, "sharing")
        [elsewhere] = second.wait_until(lambda status: len(status["partitions"]) == 1, "sharing")[
            "partitions"
        ]
        page = open_page(process.address)
        expect(page.locator("#state")).to_have_text("serving")
        while partition_of(page.inner_text("#try-id"), settings.partitions) != elsewhere:
            choose(page, "thing i7", 1)
            page.click("#over")
        choose(page, "thing i7", 1)
        expect(page.locator("#list > li")).to_have_count(20)
        assert second.stop() == 0


def test_a_worker_stops_in_peace_with_pages_open_and_they_say_that_it_is_away(
    settings: Settings, process: WorkerProcess, open_page: OpenPage
) -> None:
    page = open_page(f"{process.address}/#live")
    expect(page.locator("#state")).to_have_text("serving")
    assert process.stop() == 0, process.log()
    expect(page.locator("#notice")).to_contain_text("does not answer")
    expect(page.locator("#state")).to_have_attribute("data-state", "bad")
    keep(page, "away-light-1280")
