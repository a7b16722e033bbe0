"""Benchmarks: `nextclick bench NAME` or `python deploy/benchmarks/NAME.py`, each beside a limit or a peer.

stream           the worker's events/s on a backlog, beside the model alone; open_sessions reads its series
workers          events/s of one worker and of several, each on one core
latency          event to list at a fixed rate, beside a bare echo; swap: the same while versions change
ask              answers by HTTP at a fixed rate beside events, while items are sold out
items            memory of a million items in a worker, and changes a second
recovery         restart with many open sessions, and after a lost disk
decoding         what a mapping, or Avro, costs a worker an event
newcomer         seconds from an unknown log, and an unknown topic, to lists
gap              how long partitions have no lists after a kill, a restart, a pause
abuse            event to list, probes, memory and log while two clients attack the web server
endurance        an hour at a steady rate: delay, memory, store, files, accounting
scoring          events/s of stepping by vocabulary, wave and scoring
following        quality and cost of versions that are refreshed between trainings
rolling_quality  cost of the rolling quality, and how often its intervals hold the truth
train, networks  training events/s, and time of a step and memory by network; memory: peak of a mapped log
replay           replayed events/s beside Kafka's producer-perf-test; page: the live page in a browser
gpu              training and steps on a GPU beside its peak, once its results are those of the CPU
caps             what at most N items of a brand cost in Recall@20
scale            what a target rate needs, checked by a simulation
capacity, load, measure, quix   the arithmetic of `scale`, steady load, measuring processes, the Quix peer
"""
