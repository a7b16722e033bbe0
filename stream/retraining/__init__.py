"""Retraining: the champion learns the newest events; a gate decides whether the new version serves.

options          the events one run reads, and which of its steps run
schedule         when to run: by a period or cron, by the wall clock's time or the log's
retrain          one run: read, split, train, evaluate, gate, finish, save, promote, announce
learned_data     which events it learns from, and what its manifest says of them
unfinished_run   completes what a killed run had accepted
lock             one run of a registry at a time
report           the report of a run: Markdown, JSON, plot
metrics          Prometheus series, from the reports

May import: event_log, kafka.
"""
