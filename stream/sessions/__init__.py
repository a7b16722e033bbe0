"""Session state: how it is stored, which offsets it holds, how it is recovered.

session_state     one session's state, and which state an event continues
store             one RocksDB per partition: states, expiry index, applied offsets
offsets           pending offsets in memory, applied ones in the store, commit metadata
watermark         event-time watermark of a partition
partition         an open partition: states of waves in flight over its store
recovery          opens a partition and brings its histories up to the committed offset
history_replay    rebuilds histories from events
store_snapshot    a read-only snapshot of a store that a worker may have open
session_in_store, session_in_log   one session for `nextclick session`, without a worker

May import: kafka, and the contracts of stream/.
"""
