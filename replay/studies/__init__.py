"""The published studies and their tables, made again: `nextclick reproduce`.

study   a study as data: published figures, data, split and models; one TOML file each beside it
run     its models trained and ranked on a log, table by table
report  published figures beside ours, with the data, the recipe and what deviates

May import: no room of replay; model.
"""
