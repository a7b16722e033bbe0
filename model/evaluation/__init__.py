"""How good a network's lists are: ranks of next events, and measures computed from the ranks.

rank_targets         the rank of every next event of every session
metrics              Recall@k and MRR@k from ranks
intervals            95 % intervals over whole sessions
source_ranks         what each source of a fused list would give alone
confidence_sequence  a paired difference whose interval holds after every event
step_time            CPU time of a step and its list

May import: stepping, networks, data.
"""
