"""`nextclick session show`: the state of one session, from a worker, a store or the log.

Tested by tests/integration/test_session_view.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.errors import NextclickError
from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import log, moment, out
from stream.access.own_requests import own_address
from stream.access.session_requests import view_from_workers
from stream.ingest.decoders import decoder_of
from stream.kafka.partitioner import partition_of
from stream.logs import escaped
from stream.sessions.session_in_log import session_in_log
from stream.sessions.session_in_store import session_in_store
from stream.sessions.session_state import SessionState
from stream.settings import Settings, load_settings

if TYPE_CHECKING:
    from stream.wave.serving_model import ServingModel

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
        list[str] | None, typer.Option("--worker", help="web address of a worker; may be repeated")
    ] = None,
    bootstrap_servers: Brokers = None,
    registry: RegistryDir = None,
    as_json: Json = False,
) -> None:
    """Show a session's recent items, its age, its last list, and the items nearest to its hidden state.

    Asks the workers first, then reads the store on this machine, then the log. `position` counts the
    session's events. Exit: 1 when the session is not open.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    addresses = worker or [own_address(settings)]
    view = view_from_workers(addresses, session_id, settings, on_refusal=_print_refusal)
    view = view or _from_here(settings, session_id)
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


def _print_refusal(address: str, reason: str) -> None:
    log.print(f"{address}: {escaped(reason)}", highlight=False, markup=False)


def _from_here(settings: Settings, session_id: str) -> dict[str, Any] | None:
    """The view from this machine's store or from the log, computed with the registry's champion."""
    from stream.wave.serving_model import ModelSlot

    number = partition_of(session_id, settings.partitions)
    live = ModelSlot(settings)
    serving = live.prepare()
    found, source = None, "store"
    try:
        found = session_in_store(settings, session_id, number)
    except NextclickError as error:
        log.print(f"{error.what}", highlight=False, markup=False)
    if found is None:
        log.print(f"no store here has it; reading the log of partition {number}", highlight=False)
        state, watermark_ms = session_in_log(
            settings, serving.rule, serving.columns, session_id, number, decoder_of(settings)
        )
        found, source = (None if state is None else (state, watermark_ms)), "log"
    return None if found is None else _view(session_id, number, *found, serving, source)


def _view(
    session_id: str, number: int, state: SessionState, watermark_ms: int, serving: ServingModel, source: str
) -> dict[str, Any]:
    from stream.web.session import view_of

    return {**view_of(session_id, number, state, watermark_ms, serving), "source": source}


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
