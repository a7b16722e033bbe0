"""Everything that only talks to Kafka.

connection          the first request; why a broker refuses this client
retries             which errors pass by themselves, and asking again
consumers           settings, offsets, log lines and errors that consumers share
partition_reader    reads the records between two offsets of partitions
group_members       the workers of the group; leaving it to the others
held_partitions     partitions that wait for a schema of a registry
table_topic         a topic that is a table in memory: read whole, then followed
topic_reader, lists_reader, dead_letter_reader   a topic, the lists, the dead letters
topics              the topics: created and verified
topic_id            what tells a topic from another one of its name, also of committed offsets
topic_check         how the brokers' topics differ from what they must be
acls                the rights of each role: granted and verified
announcements       versions to serve and to shadow, experiments: on the topic `models`
partitioner         the partition of a session
batch_partitioner   the partitions of a batch of keys, compiled

May import: no room; the contracts of stream/.
"""
