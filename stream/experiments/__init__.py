"""Experiments: two versions that serve side by side.

experiment   what is announced: the two versions, the share, the mode; which side a session is on
in_service   what serves a wave: one version, or the two
team_draft   one list of two, each place with its owner

May import: no room; the contracts of stream/.
"""
