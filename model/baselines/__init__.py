"""The baselines, beside which every network is measured."""
