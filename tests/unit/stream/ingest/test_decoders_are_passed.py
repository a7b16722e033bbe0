"""Readers of the events topic are given the settings' decoder; without one they would read our own JSON."""

import ast

from tests.architecture.rooms import name_of, sources

READERS = {
    "Archiver", "KafkaEvents", "LogClock", "OpenPart", "Pipeline", "Recovery", "Source", "event_columns",
    "read_window", "record_columns", "reload_recent_events", "replay_letters", "session_in_log",
}  # fmt: skip
# Asks for the bounds of the log alone.
WITHOUT = {("stream/event_log/archiver.py", "KafkaEvents")}


def calls() -> list[tuple[str, str, bool]]:
    """By call of a reader: file, reader, whether a decoder is passed."""
    found = []
    for path in [*sources("stream"), *sources("replay")]:
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in READERS:
                given = [ast.unparse(value) for value in [*node.args, *(k.value for k in node.keywords)]]
                found.append((name_of(path), name, any("decoder" in value for value in given)))
    return found


def test_every_reader_of_the_events_topic_is_given_the_decoder() -> None:
    found = calls()
    assert {name for _, name, _ in found} == READERS
    assert {(file, name) for file, name, passed in found if not passed} == WITHOUT
