"""The threads of a worker, and the queues between them. The steps of a wave: see stream.wave.

source          reads and decodes `events`, commits offsets            thread "source"
assignment      the assigned partitions, and how far each is read
producer_faults what producers owe, held against what they send
partition_watch ends the worker when partitions are added      thread "partition-watch"
lanes           cuts waves; decides how many lanes are open, and how long an idle one waits
wave_consumer   the role of the pipeline as the source sees it
quick_crashes   a worker that crashes at every start stays out of its group
pipeline        counts waves under way, opens and closes partitions    threads "step-N"
sink            publishes lists, waits for acknowledgements, writes    thread "sink"
arrivals        what a record becomes: an event, left out, or rejected
dead_letters    key, value and headers of a rejected record
commits         written offsets that are not committed yet
models_topic_watch   reads `models` after it was made anew    thread "models-topic-watch"
model_switch    follows announcements of versions, rolls back          thread "models"
counters, gauges   Prometheus series, registered by stream.app

May import: wave, experiments, quality, sessions, kafka.
"""
