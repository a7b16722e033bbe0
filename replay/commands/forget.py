"""`nextclick forget`: what is kept of a person is removed, with a receipt.

Tested by tests/integration/test_forget.py and tests/unit/stream/event_log/test_forget.py.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from model.errors import NextclickError
from replay.commands.options import Brokers, Json
from replay.console import log, out, progress_bar
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.forget import (
    Person,
    archived_sessions_of,
    behind,
    forgotten_sessions,
    obeyed_sessions,
    remove_from_archive,
    send_forget,
    sessions_of,
)
from stream.ingest.decoders import decoder_of
from stream.settings import Settings, load_settings


def forget(
    session: Annotated[
        list[str] | None, typer.Option("--session", help="a session to forget; may be repeated")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="a user: every session that the log or the archive has of it")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="a folder of `nextclick archive`, to remove the records from, too")
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="seconds to wait until the workers have obeyed")
    ] = 60,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Remove what is kept of a person: session state, newest lists, records of an archive.

    Prints a receipt: what was removed where, and what cannot be removed. Exit: 0 when all is done, 1 when
    something has still to happen, which the receipt names; the same command may be run again.
    """
    if not session and user is None:
        raise typer.BadParameter("name --session or --user")
    if "" in (session or []) or user == "":
        raise typer.BadParameter("an id is not empty")
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    if settings.events_mapping:
        raise NextclickError(
            f"{settings.events_topic} is a topic of one's own, into which no events are written here",
            "Nothing was removed.",
            "Write a record of the session whose kind the mapping makes `forget`; workers obey it.",
        )
    folder = None if archive is None else ArchiveFolder(archive)
    sessions = set(session or [])
    if user is not None:
        sessions |= sessions_of(settings, user, decoder_of(settings))
        sessions |= set() if folder is None else archived_sessions_of(folder, user)
    # Said once: an archive would never reach what each call says anew.
    placed = forgotten_sessions(settings, sessions, decoder_of(settings)) if sessions else {}
    placed |= send_forget(settings, sessions - placed.keys())
    obeyed = obeyed_sessions(settings, placed, wait_s) if placed else set()
    receipt: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": user,
        "sessions": {name: f"{number}-{offset}" for name, (number, offset) in sorted(placed.items())},
        "workers": {
            "group": settings.group_id,
            "obeyed": len(obeyed),
            "waiting": sorted(placed.keys() - set(obeyed)),
        },
        "archive": None,
        "kept": _kept(settings, folder),
    }
    if folder is not None:
        with progress_bar("looking through the archive") as bar:
            removed = remove_from_archive(
                folder, Person(frozenset(sessions), user), lambda done, total: bar(done, total, "files")
            )
        receipt["archive"] = {**removed, "behind": behind(folder, placed)}
    waits = receipt["workers"]["waiting"] or (receipt["archive"] or {}).get("behind")
    receipt["complete"] = not waits
    if as_json:
        print(json.dumps(receipt, ensure_ascii=False))
    else:
        _print(receipt)
    raise typer.Exit(0 if receipt["complete"] else 1)


def _kept(settings: Settings, archive: ArchiveFolder | None) -> dict[str, str]:
    """What stays, and until when."""
    kept = {
        settings.events_topic: "the records themselves, until the topic's retention removes them (by default "
        "never); windows to train on leave them out",
        settings.recommendations_topic: "earlier lists, until the topic's retention removes them; the newest "
        "one of each session has no items",
        settings.dlq_topic: "records that could not be read, until the topic's retention removes them",
        "models": "weights and counts that were learned from all visitors together: they name none",
        "stores": "the bytes of removed states, unreadable by a worker, until RocksDB compacts them",
    }
    if archive is None:
        kept["archives"] = "everything, unless a folder is named by --archive"
    return kept


def _print(receipt: dict[str, Any]) -> None:
    workers, archive = receipt["workers"], receipt["archive"]
    out.print(f"{len(receipt['sessions']):,} sessions are forgotten", highlight=False)
    for name, place in receipt["sessions"].items():
        out.print(f"  {name}: said at {place}", highlight=False, markup=False)
    out.print(
        f"workers of {workers['group']}: {workers['obeyed']:,} of them obeyed", highlight=False, markup=False
    )
    if archive is not None:
        text = f"{archive['removed_records']:,} records of {len(archive['files']):,} files"
        out.print(f"archive {archive['folder']}: removed {text}", highlight=False, markup=False)
    for what, why in receipt["kept"].items():
        out.print(f"stays in {what}: {why}", highlight=False, markup=False)
    if workers["waiting"]:
        log.print(
            f"not obeyed yet: {len(workers['waiting'])} sessions; start a worker of the group, which obeys "
            "as soon as it comes to them, and run this again",
            highlight=False,
            markup=False,
        )
    if archive is not None and archive["behind"]:
        log.print(
            f"the archive has not reached {len(archive['behind'])} of the sessions' ends: run "
            "`nextclick archive --until-end`, then this again",
            highlight=False,
            markup=False,
        )
