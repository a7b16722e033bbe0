"""`nextclick dlq`: the events that were rejected, shown, and sent again once they can be read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from replay.commands.options import Brokers, Json
from replay.console import moment, out, start_logs
from replay.dead_letters.replay_letters import read_corrections, replay_letters, shown_text
from replay.dead_letters.replayed import LetterMemory
from stream.events import REASONS
from stream.kafka.dead_letter_reader import Letter, letters
from stream.settings import load_settings

SHOWN_CHARACTERS = 200
dlq = typer.Typer(
    help="Show the events that were rejected, and send them again.",
    epilog="Example: nextclick dlq show --reason schema",
    no_args_is_help=True,
)
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help=f"only these: {', '.join(REASONS)}; may be repeated")
]


def _check(reasons: Iterable[str] | None) -> list[str]:
    """The reasons; misuse ends the command."""
    wrong = sorted(set(reasons or ()) - set(REASONS))
    if wrong:
        raise typer.BadParameter(f"{', '.join(wrong)}: no such reason; there are {', '.join(REASONS)}")
    return list(reasons or ())


@dlq.command(epilog="Example: nextclick dlq show --reason schema --limit 5")
def show(
    reason: Reasons = None,
    limit: Annotated[int, typer.Option(min=1, help="so many of the newest; all are counted")] = 20,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Count the rejected events by reason, and show the newest with origin, time and value, escaped.

    With --json whole, in a form that `nextclick dlq replay --corrected` takes after it was edited.
    """
    reasons = _check(reason)
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    found = list(letters(settings))
    memory = LetterMemory(settings)
    try:
        memory.load(found)
    finally:
        memory.close()
    counts = Counter(letter.reason for letter in found)
    chosen = [letter for letter in found if not reasons or letter.reason in reasons]
    rows = [_row(letter, memory.is_done(letter)) for letter in chosen[-limit:]]
    if as_json:
        print(json.dumps({"counts": counts, "letters": rows}))
        return
    for name, count in counts.most_common():
        waiting = sum(letter.reason == name and not memory.is_done(letter) for letter in found)
        text = f"{name}: {count:,}, of which {waiting:,} not replayed"
        out.print(text, highlight=False, markup=False)
    if not found:
        out.print(f"{settings.dlq_topic} has no letters", highlight=False, markup=False)
    for row in rows:
        value = row["value"]
        if len(value) > SHOWN_CHARACTERS:
            value = f"{value[:SHOWN_CHARACTERS]}… ({len(value):,} characters)"
        state = "replayed" if row["done"] else "waits"
        line = (
            f"{moment(row['time_ms'])} {row['reason']} from {row['origin']} "
            f"({row['partition']}-{row['offset']}, {state})\n  key {row['key']}\n  value {value}"
        )
        out.print(line, highlight=False, markup=False)


def _row(letter: Letter, done: bool) -> dict[str, Any]:
    """A letter as it is shown."""
    texts = {"key": shown_text(letter.key), "value": shown_text(letter.value)}
    origin = shown_text(letter.origin.encode())
    return {
        **asdict(letter),
        **texts,
        "reason": shown_text(letter.reason.encode()),
        "origin": origin,
        "done": done,
    }


@dlq.command(epilog="Example: nextclick dlq replay --reason future --dry-run")
def replay(
    reason: Reasons = None,
    corrected: Annotated[
        Path | None, typer.Option(help="file of `nextclick dlq show --json`, with keys or values edited")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be sent, and send nothing")
    ] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="never again try those that are still bad")
    ] = False,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Send rejected events to the topic of the events again, keyed as they were, and none of them twice.

    What would be rejected again is left where it is. Each record says in its headers which letter it
    was. One replay at a time. A session that went on since takes its event late.
    """
    reasons = _check(reason)
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    start_logs(settings)
    report = replay_letters(
        settings,
        reasons=reasons,
        corrections=read_corrections(corrected) if corrected else None,
        dry_run=dry_run,
        give_up=give_up,
    )
    if as_json:
        print(json.dumps({**vars(report), "dry_run": dry_run}))
        return
    out.print(
        f"{report.sent:,} letters {'would be' if dry_run else 'were'} sent to {settings.events_topic}; "
        f"{report.done_before:,} were before, {report.repeated:,} stood twice",
        highlight=False,
    )
    for name, count in report.still_bad.most_common():
        out.print(f"still bad, {name}: {count:,}", highlight=False, markup=False)
