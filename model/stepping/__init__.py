"""One step of a wave: packed states and columns in, top-20 lists and packed states out.

stepper           steps a wave with one model; rebuilds states from histories
read_out          lists and scores of stored states, without a step
finite_scores     whether a version's scores are numbers
wave_copies       a wave to its device and back, by one copy each way
table_copies      item tables of a device: a refresh sends the rows that moved
rank_on_host      a fused list's sources and ranker, after its network's step on a device
state_layout      a session's state tensors as the bytes of one row
top_k             the lists of all scores, the rank of a target: the definition of a list
choose_shortlist  whether all items are scored (top_k) or a shortlist of them
shortlist         candidates by a product in bfloat16; its lists equal top_k's
score_parts       how much of a wave is scored at once, where there are very many items
compiled_top_k    the compiled pass of `shortlist`: candidates, exact scores, list
faiss_shortlists  candidates found by an index: approximate lists of exact scores
unlisted_items    items that no list has: sold out, or against a rule
read_write_lock   steps read the item tables, a refresh writes them

May import: networks.
"""
