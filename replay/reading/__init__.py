"""Packed files as chunks of text columns."""
