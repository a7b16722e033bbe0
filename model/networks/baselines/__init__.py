"""The baselines: one per file, behind the interface of the networks, so that each can be streamed."""
