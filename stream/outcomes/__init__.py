"""What came of the lists: shown, then clicked, put in the basket, bought; on the topic `outcomes`.

outcome             the value of a record
kept_events         the events that lists may have led to, and when each was read
outcome_join        the lists of a partition, each with what followed it
list_record         a record of `recommendations` as the join takes it
recorder_offsets    what is committed beside the offsets, and the consumer
recorded_partition  a partition as it was committed, and how far it is
other_recorders     whether others of the group have every partition
outcome_recorder    reads both topics, writes outcomes, in transactions
outcome_report      what became of the lists
metrics             Prometheus series of the recorder
outcome_files       outcomes as Parquet
outcomes_reader     the topic read for an experiment
comparison          both sides of an experiment, with intervals
off_policy          what one side would bring if it served every session
lead                whether a promotion may follow an experiment
comparison_text     a comparison for people and for programs

May import: experiments, ingest, kafka, sessions.
"""
