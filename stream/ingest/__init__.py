"""Topics of one's own: records of any shape, read as events by a mapping.

decoders          the decoder that the settings ask for
named_mappings    mappings of payloads that many shops have: CloudEvents, Segment, Snowplow, GA4
mapped_decoder    the event of a record: its value, key, time and headers
registry_values   the same of records in Avro, Protobuf or JSON Schema, by the schema that each names
registry_schemas  the schemas of a registry
avro_records      records in Avro
protobuf_records  records in Protobuf
json_values       the mapped values of JSON, read without the others
column_paths      where in a record a column lies
event_values      the event of the values, or why there is none
event_times       a time in any unit

ingester          maps topics into `events` in transactions: each record once
listed_events     the events of a record that may hold several
transactions      what is produced and the offsets read count together, or not
group_progress    the group of ingesters, and whether it has ingested what there was
ingest_report     what became of the records
ingest_metrics    Prometheus series of the ingester

May import: kafka.
"""
