"""The view of one session, on a real worker."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.settings import Settings
from tests.conftest import settings_of_its_own, train_small
from tests.harness.commands import run, run_json
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import (
    all_lists,
    by_event,
    events_by_id,
    served,
    with_features,
    with_unknown_items,
    worker,
)

pytestmark = pytest.mark.kafka

LOG = markov_shoppers(sessions=60, items=40, seed=5)
FRAME = with_unknown_items(with_features(LOG.frame))


@pytest.fixture(scope="module")
def serving(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, WorkerProcess]]:
    """A worker that has served the log."""
    folder = tmp_path_factory.mktemp("serving")
    settings = settings_of_its_own(kafka, folder, recent_items=6)
    train_small(replace(LOG, frame=with_features(LOG.frame)), Registry(settings.registry_dir))
    replay_frames(settings, [FRAME])
    with worker(settings, folder) as process:
        process.wait_until(served(len(FRAME)), "the whole log")
        yield settings, process


def an_open_session(settings: Settings, process: WorkerProcess) -> dict[str, Any]:
    """The view of the longest open session."""
    ids = {event.session_id for event in events_by_id(settings).values()}
    views = [
        view for status, view in (get(process, session_id) for session_id in sorted(ids)) if status == 200
    ]
    longest: dict[str, Any] = max(views, key=lambda view: view["position"])
    return longest


def get(process: WorkerProcess, session_id: str) -> tuple[int, dict[str, Any]]:
    path = urllib.parse.quote(session_id, safe="")
    try:
        with urllib.request.urlopen(f"{process.address}/api/sessions/{path}", timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_every_open_session_is_shown_with_its_items_and_the_list_it_was_shown_last(
    serving: tuple[Settings, WorkerProcess],
) -> None:
    settings, process = serving
    events, lists = events_by_id(settings), by_event(all_lists(settings))
    titles = Registry(settings.registry_dir).load().vocabulary.titles
    newest: dict[str, list[str]] = {}
    for event_id in sorted(events, key=lambda name: int(name.split("-")[1])):
        newest.setdefault(events[event_id].session_id, []).append(event_id)
    found = 0
    for session_id, event_ids in newest.items():
        status, view = get(process, session_id)
        if status == 404:
            assert "no session of this id is open" in view["error"]
            continue
        found += 1
        last = lists[event_ids[-1]]
        kept = [events[event_id].item_id for event_id in event_ids][-6:][-view["position"] :]
        assert [item["item_id"] for item in view["items"]] == kept
        assert all(item["title"] == titles.get(item["item_id"]) for item in view["items"])
        assert view["session_id"] == session_id
        assert view["partition"] == int(event_ids[-1].split("-")[0])
        assert view["last_event_time_ms"] == last.event_time_ms == view["list"]["event_time_ms"]
        assert view["age_s"] >= 0
        assert view["list"]["event_id"] == last.event_id
        assert view["model_version"] == view["list"]["model_version"] == last.model_version
        assert [item["item_id"] for item in view["list"]["items"]] == last.items
        assert [item["score"] for item in view["list"]["items"]] == pytest.approx(last.scores)
        similarities = [item["similarity"] for item in view["nearest"]]
        assert similarities == sorted(similarities, reverse=True)
        assert len(similarities) == 10 and -1.001 <= similarities[-1] < similarities[0] <= 1.001
    assert found > 5


@pytest.mark.parametrize("session_id", ["never-seen", "../../etc/passwd", "<script>", "ключ"])
def test_a_session_that_is_not_open_is_not_found(
    serving: tuple[Settings, WorkerProcess], session_id: str
) -> None:
    status, view = get(serving[1], session_id)
    assert status == 404
    assert "no session of this id is open in partition" in view["error"]


def test_the_command_shows_the_same_from_worker_store_and_log(
    serving: tuple[Settings, WorkerProcess], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Last in this file: it stops the worker."""
    settings, process = serving
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    view = an_open_session(settings, process)
    session_id = view["session_id"]
    nobody = f"http://127.0.0.1:{free_port()}"
    asked = run_json("session", "show", session_id, "--worker", nobody, "--worker", process.address)
    assert asked == {**view, "source": process.address}
    told = run("session", "show", session_id).stdout
    assert f"{view['position']} events" in told
    assert all(item["item_id"] in told for item in (*view["items"], *view["nearest"]))
    assert run("session", "show", "never-seen", "--json").exit_code == 1
    assert process.stop() == 0, process.log()
    stored = run_json("session", "show", session_id)
    assert_alike(stored, {**view, "source": "store"})
    settings.state_dir.rename(tmp_path / "lost")
    logged = run_json("session", "show", session_id)
    # The log has the events; neither list nor hidden state, which is computed again from the items.
    assert_alike(
        logged, {**view, "source": "log", "model_version": None, "list": None, "nearest": logged["nearest"]}
    )
    if view["position"] <= settings.recent_items:
        assert_alike(logged["nearest"], view["nearest"])
    assert run("session", "show", "never-seen", "--json").exit_code == 1


def assert_alike(found: Any, expected: Any) -> None:
    """Equal, numbers but for their last bits."""
    if isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_alike(found[name], value)
    elif isinstance(expected, list):
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        assert found == expected
