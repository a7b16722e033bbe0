"""Everything that only talks to Kafka."""
