"""Prequential Recall@20 and MRR@20."""
