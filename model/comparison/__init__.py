"""Models beside each other, on the same next events.

compare     trains several configurations and ranks one test part with each
counts      what they learned from and ranked, in numbers that add up
table       the comparison as a table, and which of its figures say little
tune        searches a network's settings by Optuna
challenger  trains a challenger on a window of newer events
gate        decides whether the challenger may replace the champion
plots       plots of trainings, comparisons and gates

May import: training, evaluation, networks, data.
"""
