"""`nextclick data report`: what to know about a log before training on it.

report            reads a log once and gathers all figures
survey            exact counts, times and items while the log is read
session_sample    whole sessions within a fixed memory, chosen by hash
session_figures   lengths, gaps, repeats and order of the sampled sessions
warnings          what the figures warn of: leaks, shuffled rows, made-up times
plot              the picture: six panels

May import: datasets.
"""
