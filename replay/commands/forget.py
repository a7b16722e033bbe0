"""`nextclick forget`: what is kept of a person is removed, with a receipt.

Tested by tests/unit/replay/commands/test_forget.py, tests/integration/test_forget.py and
tests/unit/stream/event_log/test_forget.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from replay.commands.options import Brokers, Json
from replay.console import log, out, progress_bar
from stream.catalogue.purchases_topic import forget_purchases
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
from stream.event_log.retention import Retention, retentions
from stream.ingest.decoders import decoder_of
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import partition_counts
from stream.outcomes.outcome_files import OutcomeFiles
from stream.outcomes.outcomes_reader import OutcomesOfSessions, of_sessions
from stream.settings import Settings, load_settings

# A recorder that runs commits every second what it has read.
RECORDER_WAIT_S = 5.0


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
    outcomes: Annotated[
        Path | None,
        typer.Option(help="a folder of `nextclick experiment export`, to remove the lists from, too"),
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="seconds to wait until the workers have obeyed")
    ] = 60,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Remove what is kept of a person: session state, newest lists, records of an archive, exported outcomes.

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
    if outcomes is not None:
        # Before anything is said or removed: a folder or a topic that cannot be read ends the command here.
        files = OutcomeFiles(outcomes)
        files.check()
        files.export(settings)
    sessions = set(session or [])
    if user is not None:
        sessions |= sessions_of(settings, user, decoder_of(settings))
        sessions |= set() if folder is None else archived_sessions_of(folder, user)
    # Said once: an archive would never reach what each call says anew.
    placed = forgotten_sessions(settings, sessions, decoder_of(settings)) if sessions else {}
    placed |= send_forget(settings, sessions - placed.keys())
    obeyed = obeyed_sessions(settings, placed, wait_s) if placed else set()
    # After the workers have obeyed: none has a purchase of these sessions under way then.
    purchases = None if user is None else forget_purchases(settings, user)
    at_ms = int(datetime.now(UTC).timestamp() * 1000)
    kept = _retentions(settings)
    in_topic = _of_outcomes_topic(settings, sessions, placed, kept, wait_s)
    receipt: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": user,
        "sessions": {name: f"{number}-{offset}" for name, (number, offset) in sorted(placed.items())},
        "workers": {
            "group": settings.group_id,
            "obeyed": len(obeyed),
            "waiting": sorted(placed.keys() - set(obeyed)),
        },
        "purchases": None if purchases is None else {"removed": purchases},
        "archive": None,
        "outcomes": None,
        "outcomes_topic": in_topic,
        "kept": {
            **_kept_topics(settings, kept, at_ms, in_topic),
            **_kept_elsewhere(folder is not None, outcomes is not None),
        },
    }
    if user is not None and outcomes is not None and folder is None:
        receipt["kept"]["exported outcomes"] = (
            "lists of sessions whose events have left the log, which says whose they are: name --archive"
        )
    if outcomes is not None:
        receipt["outcomes"] = _forget_outcomes(settings, outcomes, sessions, in_topic)
    if folder is not None:
        with progress_bar("looking through the archive") as bar:
            removed = remove_from_archive(
                folder, Person(frozenset(sessions), user), lambda done, total: bar(done, total, "files")
            )
        receipt["archive"] = {**removed, "behind": behind(folder, placed)}
    waits = [receipt["workers"]["waiting"]]
    waits += [(receipt[where] or {}).get("behind") for where in ("archive", "outcomes", "outcomes_topic")]
    receipt["complete"] = not any(waits)
    if as_json:
        print(json.dumps(receipt, ensure_ascii=False))
    else:
        _print(receipt)
    raise typer.Exit(0 if receipt["complete"] else 1)


def _retentions(settings: Settings) -> dict[str, Retention]:
    """By topic what removes its records, of the topics that are there."""
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    there = partition_counts(admin, settings)
    topics = [
        settings.events_topic, settings.recommendations_topic, settings.placements_topic,
        settings.outcomes_topic, settings.dlq_topic,
    ]  # fmt: skip
    return retentions(admin, [topic for topic in topics if there.get(topic)])


def _of_outcomes_topic(
    settings: Settings,
    sessions: set[str],
    placed: dict[str, tuple[int, int]],
    kept: Mapping[str, Retention],
    wait_s: float,
) -> dict[str, Any] | None:
    """What the topic of outcomes has of the sessions; `behind` are those of which more may be written.

    None where there is no such topic.
    """
    topic = settings.outcomes_topic
    if topic not in kept:
        return None
    recorders = settings.model_copy(update={"group_id": f"{settings.group_id}-outcomes"})
    # Asked before the topic is read: of these nothing is written after what is read.
    known = set(obeyed_sessions(recorders, placed, min(wait_s, RECORDER_WAIT_S))) if placed else set()
    found = OutcomesOfSessions()
    if sessions:
        with TopicReader(settings, topic) as reader:
            found = of_sessions(reader, sessions)
    return _in_topic(topic, found, kept[topic], sorted(placed.keys() - known))


def _in_topic(
    topic: str, found: OutcomesOfSessions, retention: Retention, behind: list[str]
) -> dict[str, Any]:
    """The receipt's part on the topic of outcomes.

    `until` is None where nothing is there, where nothing removes it, and where the brokers did not tell.
    """
    return {
        "topic": topic,
        "lists": found.lists,
        "sessions": sorted(found.sessions),
        "until": retention.until(found.newest_ms) if found.lists else None,
        "kept": retention.text(found.newest_ms) if found.lists else "",
        "ends": {str(number): end for number, end in sorted(found.ends.items())},
        "behind": behind,
    }


def _forget_outcomes(
    settings: Settings, folder: Path, sessions: set[str], in_topic: dict[str, Any] | None
) -> dict[str, Any]:
    """Remove the sessions' lists from the files; `behind` are those of which the recorder may write more."""
    files = OutcomeFiles(folder)
    # Else a later export would bring back what the topic has.
    files.export(settings)
    removed = files.remove(sessions)
    return {
        "folder": str(folder),
        "removed_lists": sum(removed.values()),
        "files": removed,
        "behind": [] if in_topic is None else in_topic["behind"],
    }


def _kept_topics(
    settings: Settings, kept: Mapping[str, Retention], at_ms: int, in_topic: dict[str, Any] | None
) -> dict[str, str]:
    """What stays on topics that are there, and until when."""
    # The records' times are those of events, which clocks may set ahead.
    newest_ms = at_ms + int(settings.max_future_s * 1000)
    until = {topic: retention.text(newest_ms) for topic, retention in kept.items()}
    found: dict[str, str] = {}
    if topic := until.get(settings.events_topic):
        found[settings.events_topic] = f"the records themselves, {topic}; windows to train on leave them out"
    if topic := until.get(settings.recommendations_topic):
        found[settings.recommendations_topic] = (
            f"earlier lists, {topic}; the newest one of each session has no items"
        )
    if topic := until.get(settings.placements_topic):
        found[settings.placements_topic] = (
            f"earlier lists of published placements, {topic}; the newest one of each placement that is "
            "published has no items"
        )
    if in_topic is not None and in_topic["lists"]:
        found[settings.outcomes_topic] = (
            f"{in_topic['lists']:,} earlier lists of {len(in_topic['sessions']):,} sessions and what came of "
            f"them, {in_topic['kept']}"
        )
    if topic := until.get(settings.dlq_topic):
        found[settings.dlq_topic] = f"records that could not be read, {topic}"
    return found


def _kept_elsewhere(archive_is_named: bool, outcomes_are_named: bool) -> dict[str, str]:
    """What stays outside of topics."""
    kept = {
        "models": "weights and counts that were learned from all visitors together: they name none",
        "stores": "the bytes of removed states, unreadable by a worker, until RocksDB compacts them",
    }
    if not archive_is_named:
        kept["archives"] = "everything, unless a folder is named by --archive"
    if not outcomes_are_named:
        kept["exported outcomes"] = "everything, unless a folder is named by --outcomes"
    return kept


def _print(receipt: dict[str, Any]) -> None:
    workers, archive = receipt["workers"], receipt["archive"]
    out.print(f"{len(receipt['sessions']):,} sessions are forgotten", highlight=False)
    for name, place in receipt["sessions"].items():
        out.print(f"  {name}: said at {place}", highlight=False, markup=False)
    out.print(
        f"workers of {workers['group']}: {workers['obeyed']:,} of them obeyed", highlight=False, markup=False
    )
    if receipt["purchases"] is not None:
        out.print(f"purchases: removed {receipt['purchases']['removed']:,}", highlight=False, markup=False)
    if archive is not None:
        text = f"{archive['removed_records']:,} records of {len(archive['files']):,} files"
        out.print(f"archive {archive['folder']}: removed {text}", highlight=False, markup=False)
    if receipt["outcomes"] is not None:
        found = receipt["outcomes"]
        text = f"{found['removed_lists']:,} lists of {len(found['files']):,} files"
        out.print(f"outcomes {found['folder']}: removed {text}", highlight=False, markup=False)
    for what, why in receipt["kept"].items():
        out.print(f"stays in {what}: {why}", highlight=False, markup=False)
    if workers["waiting"]:
        log.print(
            f"not obeyed yet: {len(workers['waiting'])} sessions; start a worker of the group, which obeys "
            "as soon as it comes to them, and run this again",
            highlight=False,
            markup=False,
        )
    if late := (receipt["outcomes_topic"] or {}).get("behind"):
        log.print(
            f"`nextclick outcomes` has not come to {len(late)} of the sessions' ends, and may still write "
            "lists of them: let it run on (`nextclick outcomes --until-end`), then run this again",
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
