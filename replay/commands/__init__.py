"""Nextclick X is commands/X.py."""
