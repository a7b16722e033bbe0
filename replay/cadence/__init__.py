"""The study of how often to train: `nextclick cadence`.

study_log       a log as numbered sessions, and the targets that every contender ranks
trainer         the versions: the first, then each going on from the one before
ranks           ranks of the targets in the lists that a version shows
live_baselines  POP of the last hour and transitions, learning from every event
run_cadence     all targets ranked at one cadence of training
hourly_hits     hits and targets by hour
report          the table with intervals, and the series by hour
plot            Recall@20 over event time

May import: no room of replay; model.
"""
