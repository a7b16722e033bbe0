"""Ranks, Recall@k, MRR@k, intervals."""
