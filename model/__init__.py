"""The models: networks, baselines, training, evaluation and the registry.

Knows no Kafka, no Faust and no RocksDB. What training and serving share (session rule,
vocabulary, top-k, metrics) exists once, here.
"""
