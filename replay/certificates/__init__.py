"""Hashes of what was sent, and their check."""
