import pandas as pd

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import temporal_split
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import rank_targets
from model.networks.baselines.pop import Pop
from model.training.train import train
from replay.synthetic.shopper_stream import ShopperStream
from replay.synthetic.shoppers import ShopperSettings


def test_a_trained_gru_reaches_most_of_the_best_recall_and_beats_pop() -> None:
    stream = ShopperStream(ShopperSettings(events=40_000, items=300, rate=100.0, seed=2))
    frame = pd.concat(stream.frames(), ignore_index=True)
    config = ModelConfig(hidden_size=48, epochs=2, negatives=128, learning_rate=0.1)
    training, test = temporal_split(frame, test_fraction=0.1)
    vocabulary = Vocabulary.from_frame(training)
    earlier, later = (
        Sessions.from_frame(part, vocabulary, SessionRule(config.session_gap_s)) for part in (training, test)
    )
    result = train(earlier, vocabulary, config)
    gru = rank_targets(result.network, later).evaluation().recall
    pop = rank_targets(Pop(vocabulary), later).evaluation().recall
    assert gru > 0.9 * stream.truth.best_recall
    assert gru < stream.truth.best_recall + 0.02
    assert gru > 1.5 * pop
