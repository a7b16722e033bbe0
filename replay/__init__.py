"""The replay tool: historical event logs into Kafka, in event-time order."""
