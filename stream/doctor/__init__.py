"""Checks that change nothing."""
