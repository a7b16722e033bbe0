"""The baselines: one per file, with the interface of the networks, so that each can be streamed.

pop, s_pop             the most popular items: of all, of a window, of the session
item_counts            the counting core of POP over a moving window
transitions            items that came next after the newest one
item_knn, v_sknn       items of the same sessions, items of similar sessions
matrix_factorisation   vectors learned by BPR
user_factorisation     the same with a vector for each user
recent_items           a session's newest items as a state

May import: networks (network, popularity_prior), data.
"""
