"""`nextclick dlq`: shows rejected events, and sends them again once they are valid.

Tested by tests/integration/test_dead_letters.py.
"""

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
from replay.dead_letters.replayed import ReplayedLetters
from stream.events import REASONS
from stream.ingest.decoders import decoder_of
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
    """The reasons as a list. Raises typer.BadParameter on an unknown one."""
    wrong = sorted(set(reasons or ()) - set(REASONS))
    if wrong:
        raise typer.BadParameter(f"{', '.join(wrong)}: no such reason; there are {', '.join(REASONS)}")
    return list(reasons or ())


@dlq.command(epilog="Example: nextclick dlq show --reason schema --limit 5")
def show(
    reason: Reasons = None,
    limit: Annotated[int, typer.Option(min=1, help="show this many of the newest; all are counted")] = 20,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Count the rejected events by reason, and show the newest with origin, time and value, escaped.

    --json prints them whole; edited, the output is the input of `nextclick dlq replay --corrected`.
    """
    reasons = _check(reason)
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    found = list(letters(settings))
    replayed = ReplayedLetters(settings)
    try:
        replayed.load(found)
    finally:
        replayed.close()
    counts = Counter(letter.reason for letter in found)
    chosen = [letter for letter in found if not reasons or letter.reason in reasons]
    rows = [_row(letter, replayed.is_done(letter)) for letter in chosen[-limit:]]
    if as_json:
        print(json.dumps({"counts": counts, "letters": rows}))
        return
    for name, count in counts.most_common():
        waiting = sum(letter.reason == name and not replayed.is_done(letter) for letter in found)
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
    """A letter as it is printed."""
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
        bool, typer.Option("--dry-run", help="print what would be sent, and send nothing")
    ] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="never try again those that are still invalid")
    ] = False,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Send rejected events to the events topic again, with their keys, each at most once.

    Letters that would be rejected again are not sent. A header of each record names its letter. Only
    one replay may run at a time. A session that has continued since receives its event late.
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
        decoder=decoder_of(settings),
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
