"""Keeps the item tables of a served network fresh between two trainings.

recent_events       the newest events of the stream, bounded, read by every refresher
moving_tables       FreshnessConfig; popularity counts, biases and rows of new items
growing_vocabulary  the trained vocabulary with room for items that appear later
live_sources        what the sources of a fused list learn from recent events
refresher           applies recent events to the tables of one stepper, once a minute of event time
log_refresher       the same along a log, for studies and for a ranker's training
log_walk            the sessions of a log stepped in event time, with tables that follow it

May import: stepping, networks, data.
"""
