"""Run by torchrun: trains in each way, and writes what this process ended with, for comparison."""

import hashlib
import json
import sys
from pathlib import Path

import torch

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.training.replicas import Replicas
from model.training.train import RunOptions, train
from tests.harness.markov_shoppers import markov_shoppers

replicas = Replicas.join(torch.device("cpu"))
log = markov_shoppers(sessions=41, items=30, seed=10).frame
log["user_id"] = "u" + (log["session_id"].str[1:].astype(int) % 7).astype(str)
vocabulary = Vocabulary.from_frame(log, ("user_id",))
sessions = Sessions.from_frame(log, vocabulary, SessionRule(1800))
report = {}
for network, loss, embedding in (
    ("gru4rec", "cross-entropy", "tied"),
    ("gru4rec", "cross-entropy", "separate"),
    ("gru4rec", "full-cross-entropy", "tied"),
    ("user-gru-rectified", "cross-entropy", "separate"),
):
    settings = {"loss": loss, "embedding": embedding, "hidden_size": 8, "epochs": 2, "negatives": 16}
    if network != "gru4rec":
        settings |= {"network": network, "unroll": 3, "clip_norm": 0.5, "user_l2": 0.01}
    config = ModelConfig.model_validate({**settings, "batch_size": 4, "dropout_hidden": 0.1})
    result = train(sessions, vocabulary, config, run=RunOptions(replicas=replicas))
    digest = hashlib.sha256()
    for tensor in result.network.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    report[f"{network} {loss} {embedding}"] = {
        "weights": digest.hexdigest(),
        "losses": result.losses,
        "events": result.events,
        "pairs": sessions.pairs,
    }
(Path(sys.argv[1]) / f"{replicas.rank}.json").write_text(json.dumps(report))
replicas.leave()
