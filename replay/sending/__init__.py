"""A log into Kafka, in event-time order, at a pace.

replay_files       event files: read, ordered, moved in time, resumed
replay             parts of a log, at a pace, to the producer; replay_report says what was sent
timeline           the wanted part of a log, shifted in time or repeated
event_time_order   a log in order within a memory limit; sorted_runs on disk are merged
prefetch_process, prefetch_thread   read and encode ahead of the sender
encoding           event frames as keys, values and timestamps
producer           events to the topic, every one acknowledged; the limit on a group's lag
pace, pause        when events are due; SIGUSR1 and the space bar
checkpoint, resume   the file of an interrupted replay; which later events the topic has
rejected_lines     lines that cannot be read, to the dead-letter topic

May import: datasets, reading, certificates, synthetic.
"""
