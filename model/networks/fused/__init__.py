"""The fused list: several sources propose items, and a learned ranker orders them.

source_arrays     the sources' arrays, a session's candidates, the features' columns
neighbours        the source of neighbours: items of similar past sessions
newest_sessions   the newest sessions as they come, for neighbours
live_tables       what the other sources learn from events as they come
candidates        the candidates of a wave and their features, by one compiled pass
left_out_sources  a fused list without some of its sources
source_lists      each source's own list, without the ranker
source_tables     what the counting sources learn, as buffers
ranker            scores candidates by their features; learned by a listwise softmax
fused_list        the network that puts them together

May import: networks (network, baselines/recent_items), data.
"""
