"""Logs as arrays: what training and evaluation read.

session_rule      the session gap: when a session ends
sessions          events grouped by session
session_parts     the same of parts that hold whole sessions, such as partitions, joined
sessions_on_disk  the same arrays, mapped from disk, for logs larger than memory
vocabulary        item id to index, with training counts and titles
features          the other event columns as codes and numbers
event_filter      which events are wanted: by kind and by category
learned_events    what a version has learned from, as its manifest records it
batches           session-parallel batches
splits            training and test parts: by time, by chance, by user
co_clicks         pairs of items that sessions have near each other

May import: no other room.
"""
