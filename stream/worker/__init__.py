"""Threads and queues: source, lanes, sink, commits."""
