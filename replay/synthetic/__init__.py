"""Synthetic logs of any length, made by shoppers whose best next items are known.

shoppers         the settings of a synthetic log, and the truth known of it
shopper_stream   the shoppers: random walks over a catalogue, bots, late and repeated events
write_file       a synthetic log as CSV, JSON lines or Parquet

May import: no room of replay.
"""
