"""The networks behind one interface, one file each, and the tensors that they share.

network           the interface: GradientNetwork, CountingNetwork, StateField
by_name           the table of networks, and how one is added
model_version     a network with its vocabulary and config: what is saved and served
item_scores, best_items, popularity_prior, input_columns    scores, the best, popularity, sessions as inputs
gru4rec, recurrent, feature_lstm, text_gru, user_gru    the networks of the papers
recurrent_stack, user_cells, title_vectors, vector_errors    the parts they are made of
fused/            several sources and a ranker: the fused list
baselines/        networks that count instead of learning by gradients

May import: data.
"""
