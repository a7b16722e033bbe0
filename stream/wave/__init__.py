"""One wave: events stepped together, at most one of each session. Its steps, in the order of the code:

1. decode    stream.worker.source      records become arrivals; a bad one gets its reason
2. wave      stream.worker.lanes       cut by `waves`: one event of each session, lane by lane
3. load      processor                 states of the sessions; duplicates are skipped
4. rule      processor                 sessions reset after silence; late events counted
5. rebuild   step                      hidden states of another version, over a `serving_model`
6. score     shown_list                each event against the list its session was shown last
7. step      step                      once; the top-20 is selected
8. publish   stream.worker.sink        lists and dead letters; waits for every acknowledgement
9. write     stream.worker.sink        states and offsets in one batch; stream.worker.commits: commit

`session_event` is an event on its way through 3 to 7, `shown_list` the list that 6 ranks it in,
`stepped_wave` what they leave for 8 and 9. In an experiment two versions step, each its `sides`.
Beside the steps: shadow (another version on the same events), freshness (tables that follow the
events), listable_items, popular_items and arrangement (what may be listed), load_shedding (lists left out to
catch up), first_version (served at a start), withdrawn_versions (out of service after a restart, too),
metrics (series of shadow, experiment and freshness).
May import: catalogue, experiments, quality, sessions, event_log.
"""
