"""The stream processor: Kafka in, one recurrent step per event, top-20 lists out."""
