"""`nextclick dlq replay`: rejected events sent to `events` again.

replayed         which letters were replayed, kept in Kafka as commits
replay_letters   sends the letters that are valid now, each once

May import: no other room of replay.
"""
