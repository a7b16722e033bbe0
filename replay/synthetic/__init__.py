"""Shoppers with a known best list."""
