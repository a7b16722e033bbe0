"""`nextclick session show`: what is known of one session, from a worker, a store or the log."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Annotated, Any

import typer

from model.errors import NextclickError
from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import log, moment, out
from stream.kafka.partitioner import partition_of
from stream.logs import escaped
from stream.sessions.session_in_log import session_in_log
from stream.sessions.session_state import SessionState
from stream.sessions.store_snapshot import open_snapshot, store_path
from stream.settings import Settings, load_settings
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.web.session import view_of

WORKER_TIMEOUT_S = 10.0
session = typer.Typer(
    help="Look at one session.", epilog="Example: nextclick session show 4711", no_args_is_help=True
)


@session.callback()
def only() -> None:
    """Look at one session."""


@session.command(epilog="Example: nextclick session show 4711 --worker http://127.0.0.1:6066")
def show(
    session_id: Annotated[str, typer.Argument(help="the session's id")],
    worker: Annotated[
        list[str] | None, typer.Option("--worker", help="a worker's web address; may be repeated")
    ] = None,
    bootstrap_servers: Brokers = None,
    registry: RegistryDir = None,
    as_json: Json = False,
) -> None:
    """Show a session's recent items, its age, the list it was shown last, and the items nearest to its state.

    Asks the workers; where none that answers has it, the store on this machine is read, and
    else the log. `position` counts its events. Exit: 1 when it is not open.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    addresses = worker or [f"http://{settings.web_host}:{settings.web_port}"]
    view = _from_workers(addresses, session_id) or _from_here(settings, session_id)
    if view is None:
        if as_json:
            print(json.dumps({"session_id": session_id, "error": "not open"}))
        else:
            out.print(f"no session {escaped(session_id)} is open", highlight=False, markup=False)
        raise typer.Exit(1)
    if as_json:
        print(json.dumps(view))
        return
    _show(view)


def _from_workers(addresses: list[str], session_id: str) -> dict[str, Any] | None:
    """The view of the first worker that has the session; what the others say goes to stderr."""
    for address in addresses:
        url = f"{address.rstrip('/')}/api/sessions/{urllib.parse.quote(session_id, safe='')}"
        try:
            with urllib.request.urlopen(url, timeout=WORKER_TIMEOUT_S) as answer:
                view: dict[str, Any] = json.load(answer)
                return {**view, "source": address}
        except urllib.error.HTTPError as error:
            with error:
                why = f"HTTP {error.code}: {error.read(500).decode(errors='replace')}"
        except (OSError, ValueError) as error:
            why = str(error)
        log.print(f"{address}: {escaped(why)}", highlight=False, markup=False)
    return None


def _from_here(settings: Settings, session_id: str) -> dict[str, Any] | None:
    """The view from this machine's store, else from the log, with the champion of the registry."""
    number = partition_of(session_id, settings.partitions)
    live = ModelSlot(settings)
    serving = live.prepare()
    found, source = _in_store(settings, session_id, number), "store"
    if found is None:
        log.print(f"no store here has it; reading the log of partition {number}", highlight=False)
        state, watermark_ms = session_in_log(settings, serving.rule, serving.columns, session_id, number)
        found, source = (None if state is None else (state, watermark_ms)), "log"
    return None if found is None else _view(session_id, number, *found, serving, source)


def _view(
    session_id: str, number: int, state: SessionState, watermark_ms: int, serving: ServingModel, source: str
) -> dict[str, Any]:
    return {**view_of(session_id, number, state, watermark_ms, serving), "source": source}


def _in_store(settings: Settings, session_id: str, number: int) -> tuple[SessionState, int] | None:
    """State and watermark from the partition's store, None where there is none that has it."""
    path = store_path(settings.state_dir, settings.events_topic, number)
    if not (path / "CURRENT").exists():
        return None
    try:
        with open_snapshot(path) as look:
            state, fence = look.state(session_id), look.fence
    except NextclickError as error:
        log.print(f"{error.what}", highlight=False, markup=False)
        return None
    return None if state is None else (state, fence.watermark.ms if fence else 0)


def _show(view: dict[str, Any]) -> None:
    state = "open" if view["open"] else "over, not yet dropped"
    lines = [
        f"session {view['session_id']} in partition {view['partition']}: {state}, from {view['source']}",
        f"{view['position']} events, the last at {moment(view['last_event_time_ms'])}, "
        f"{view['age_s']:,.0f} s of event time ago; model {view['model_version'] or 'none yet'}",
        "recent items, oldest first:",
        *(f"  {_named(item)}" for item in view["items"]),
    ]
    shown = view["list"]
    if shown is None:
        lines.append("no list is known: it is computed again at its next event")
    else:
        lines.append(f"last list, of model {shown['model_version']}, event {shown['event_id'] or 'unknown'}:")
        lines += [f"  {item['score']:9.4f}  {_named(item)}" for item in shown["items"]]
    if view["nearest"] is None:
        lines.append("this model has no item vectors to lay its state beside")
    else:
        lines.append("items nearest to its hidden state, by cosine:")
        lines += [f"  {item['similarity']:9.4f}  {_named(item)}" for item in view["nearest"]]
    for line in lines:
        out.print(escaped(line), highlight=False, markup=False)


def _named(item: dict[str, Any]) -> str:
    return f"{item['item_id']}  {item['title']}" if item["title"] else str(item["item_id"])
