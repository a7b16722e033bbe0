"""Keeps the item tables of a served network fresh between two trainings.

recent_events       the newest events of the stream, bounded, read by every refresher
moving_tables       FreshnessConfig; popularity counts, biases and rows of new items
growing_vocabulary  the trained vocabulary with room for items that appear later
refresher           applies recent events to the tables of one stepper, once a minute of event time

May import: stepping, networks, data.
"""
