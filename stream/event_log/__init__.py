"""The event log as columns: windows to learn from, and the archive in Parquet.

columns           records as columns, and back byte for byte
kafka_reader      ranges of `events`, from Kafka
archive_reader    the same, from an archive
window            the events of a time, of offsets, or the newest ones, as a frame
logged_events     all events of a topic or an archive, partition after partition
topic_sample      some of a topic's records, as they are
archiver          the consumer that writes the archive
archive_consumer  the settings of its consumer
archive_part      one Parquet file: buffered, written, made durable
archive_folder    the files of an archive, and which offsets they hold
archive_metrics   Prometheus series of the archiver
forget            what is kept of a person is removed: in workers, by events; in an archive
retention         until when topics keep what they have

May import: kafka.
"""
