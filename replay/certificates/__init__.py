"""Certificates: hashes of what was sent, and the check of a topic against them.

certificate   counts and hashes of all records; the certifier that builds them while a replay sends
digests       a record's SHA-256; hashes over a partition's records and over all; the digest file
verify        compares a topic with its certificate, record by record

May import: no room of replay.
"""
