"""`nextclick topics`: creates missing topics, and compares existing ones with the settings.

Tested by tests/integration/test_topics.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from confluent_kafka.admin import AdminClient

from replay.commands.options import Brokers, Json
from replay.console import out
from stream.kafka.topic_check import differences
from stream.kafka.topics import ensure_topics, optional_plans, partition_counts, plans
from stream.settings import Settings, load_settings

topics = typer.Typer(help="Create the topics, or verify them.", invoke_without_command=True)
Partitions = Annotated[int | None, typer.Option(min=1, help="partitions of events and of recommendations")]


@topics.callback(epilog="Example: nextclick topics create --partitions 8")
def either(context: typer.Context, partitions: Partitions = None, bootstrap_servers: Brokers = None) -> None:
    """Create the topics, or verify them; without a command: create."""
    if context.invoked_subcommand is None:
        create(partitions, bootstrap_servers)


@topics.command(epilog="Example: nextclick topics create --partitions 8")
def create(partitions: Partitions = None, bootstrap_servers: Brokers = None) -> None:
    """Create the missing topics; print how existing topics differ, without changing them."""
    settings = load_settings(bootstrap_servers=bootstrap_servers, partitions=partitions)
    for name, count in ensure_topics(settings, optional=True).items():
        out.print(f"{name}: {count} partitions", highlight=False)
    _show(settings)


@topics.command(epilog="Example: nextclick topics verify --json")
def verify(partitions: Partitions = None, bootstrap_servers: Brokers = None, as_json: Json = False) -> None:
    """Print differing partitions, replicas, retention or sizes, and how to correct them. Changes nothing.

    Exit: 0 when nothing differs, else 1.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers, partitions=partitions)
    if as_json:
        admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        counts = partition_counts(admin, settings)
        found = differences(admin, settings)
        there = [plan for plan in optional_plans(settings) if plan.name in counts]
        named = {plan.name: counts.get(plan.name, 0) for plan in [*plans(settings), *there]}
        print(json.dumps({"partitions": named, "differences": [asdict(row) for row in found]}))
        raise typer.Exit(1 if found else 0)
    raise typer.Exit(1 if _show(settings) else 0)


def _show(settings: Settings) -> int:
    """Print the differences. Returns their number."""
    found = differences(AdminClient({**settings.kafka_config(), "log_level": 0}), settings)
    for row in found:
        out.print(
            f"{row.topic}: {row.setting} is {row.has}, not {row.wanted}\n  do: {row.remedy}",
            highlight=False,
            markup=False,
        )
    if not found:
        out.print("all topics are as they have to be", highlight=False)
    return len(found)
