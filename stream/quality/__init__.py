"""Prequential Recall@20 and MRR@20: each event is predicted, scored, then learned from.

observed_event   one stepped event, and the ranks of its item in the lists shown before it
item_age         how old an item is, by its first event
last_hour_pop    POP of the last hour of event time, a baseline
cells            where scored events are summed: slices of events × groups of sessions
source_quality   what each source's own best 20 would have been worth
windows          those sums over the newest events, faded, and by five minutes of event time
prequential      scores the events of durable waves with all of these
sums             sums of several workers added; Recall@20 and MRR@20 with intervals from them
collect          the sums of running workers, by HTTP
report           what `nextclick quality` reports from them
metrics          the Prometheus series of the room

May import: sessions, access.
"""
