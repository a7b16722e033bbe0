"""Logs as arrays: sessions, the rule that cuts them, vocabulary, splits."""
