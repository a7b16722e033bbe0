"""`nextclick dlq replay`."""
