"""A log into Kafka, in order, at a pace."""
