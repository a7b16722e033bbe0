"""The training loop, from sessions to a trained model.

job                a training as `nextclick train` runs it, evaluated beside POP
train              one training: a network that learns by gradients, or one that counts
training_data      sessions to learn from, with their vocabulary
run_options        checkpoint, processes, threads, and callbacks for the progress
epochs             the epochs of a network that learns by gradients, resumable
learned_targets    which next events are learned: all, or the last of each session
gradient_step      one batch: loss, gradients, updates of the rows touched
fused_training     a fused list: its sources, and its ranker on sessions that no source has seen
following_lists    lists for its second ranker, while the sources follow the events
negative_sampling  extra negatives, drawn by popularity
replicas           processes that train one network together
checkpoint         an interrupted training on disk
warm_start         an earlier model's weights, moved to a grown vocabulary
trained_model      the result of a training

May import: evaluation, freshness, stepping, networks, data.
"""
