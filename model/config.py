"""The configuration of a model version: network, loss, training; saved beside its weights.

Immutable and complete: a version's config and data make the same weights again.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# Items of a served list: the k of Recall@k and MRR@k.
LIST_LENGTH = 20
# What `nextclick train` and a first `nextclick retrain` train.
DEFAULT_NETWORK = "fused"
LossName = Literal[
    "cross-entropy", "full-cross-entropy", "bpr", "top1", "bpr-max", "top1-max", "mse", "cosine"
]
# Losses of a network that predicts a vector instead of scores.
VECTOR_LOSSES: tuple[LossName, ...] = ("mse", "cosine")
Layer = Annotated[str, Field(pattern=r"^(rnn|lstm|gru|dense)-[1-9][0-9]{0,3}$")]
EmbeddingName = Literal["tied", "separate", "one-hot"]
TitleVectors = Literal["tf-idf", "sentences"]
Scoring = Literal["auto", "exact", "bfloat16", "approximate"]
NewItemVectors = Literal["random", "neighbours"]
OptimizerName = Literal["adagrad", "adam", "momentum"]
CellName = Literal["gru", "lstm", "rnn"]
Targets = Literal["all", "last"]
# After training with these losses, scores are logarithms of a softmax over all items.
SOFTMAX_LOSSES: tuple[LossName, ...] = ("cross-entropy", "full-cross-entropy")


class ModelConfig(BaseModel):
    """A network, its loss and its training. The defaults reach the published quality on RSC15 at 100 units.

    >>> ModelConfig(loss="bpr-max", epochs=10).model_dump(exclude_defaults=True)
    {'loss': 'bpr-max', 'epochs': 10}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = "gru4rec"
    proposing_network: str = Field("gru4rec", description="the network among the sources of a fused list")
    without_sources: tuple[str, ...] = Field(
        (), max_length=16, description="sources that a fused list does without, as `network` or `own items`"
    )
    hidden_size: int = Field(100, ge=1, le=8192, description="units, or factors of a factorisation")
    layers: int = Field(1, ge=1, le=8)
    embedding: EmbeddingName = Field("tied", description="the item's input vector: its output vector too, or")
    embedding_size: int | None = Field(None, ge=1, le=8192, description="of separate ones; None: hidden_size")
    cell: CellName = Field("gru", description="of the network `recurrent`")
    stack: tuple[Layer, ...] = Field(
        (),
        max_length=8,
        description="of recurrent and text-gru, one by one, as lstm-256 or dense-312",
    )
    batch_norm: bool = Field(
        False, description="behind each layer of `recurrent`; feature-lstm always has it"
    )
    brand_size: int = Field(32, ge=1, le=8192, description="columns of the brands' embedding")
    category_size: int = Field(16, ge=1, le=8192, description="columns of the categories' embedding")
    price_size: int = Field(16, ge=1, le=8192, description="units of the price's dense layer")
    title_vectors: TitleVectors = Field(
        "tf-idf", description="of text-gru: hashed words, or a sentence model"
    )
    title_size: int = Field(312, ge=1, le=8192, description="columns of a tf-idf title vector")
    dropout_embedding: float = Field(0.0, ge=0, lt=1)
    dropout_hidden: float = Field(0.0, ge=0, lt=1)
    dropout_user: float = Field(0.0, ge=0, lt=1, description="of user vectors")
    user_weight: float = Field(
        0.2, ge=0, le=1, description="ω of user-gru-rectified: what is left of a diminished user vector"
    )
    user_gate: float = Field(
        0.02, gt=0, lt=1, description="the user's share at which user-gru-attentional begins to learn"
    )
    without_users: bool = Field(
        False, description="user-gru-…: every user is an unknown one, the control of what users are worth"
    )

    loss: LossName = "cross-entropy"
    regularisation: float = Field(0.0, ge=0, le=100, description="λ of BPR-max; L2 of the factorisations")
    negatives: int = Field(2048, ge=0, le=1 << 20, description="extra negatives, shared by the batch")
    alpha: float = Field(0.75, ge=0, le=2, description="negatives are drawn by popularity ** alpha")
    logq: float = Field(1.0, ge=0, le=1, description="share of the logQ correction (cross-entropy)")

    prior_half_lives_s: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="half-lives of the counts behind a bias: popularity at the end of training; (): none"
    )

    epochs: int = Field(5, ge=1, le=10_000)
    batch_size: int = Field(32, ge=1, le=65_536, description="lanes, each with a session of its own")
    unroll: int = Field(
        1, ge=1, le=1000, description="steps of each lane in a batch, through which gradients flow back"
    )
    targets: Targets = Field(
        "all", description="steps of a sequence that gradients learn and figures count: all, or its last one"
    )
    shuffle: bool = Field(False, description="take the sessions in another order in every epoch")
    patience: int | None = Field(
        None, ge=1, description="epochs without a better validation after which training stops"
    )
    optimizer: OptimizerName = "adagrad"
    learning_rate: float = Field(0.05, gt=0, le=10)
    momentum: float = Field(0.0, ge=0, lt=1)
    clip_norm: float | None = Field(None, gt=0, description="largest norm of a batch's gradient")
    user_l2: float = Field(0.0, ge=0, le=100, description="λ of the squares of user vectors that are read")
    new_item_vectors: NewItemVectors = Field(
        "random", description="where new items begin in a training that goes on from an earlier model"
    )
    seed: int = Field(42, ge=0, lt=1 << 63)

    dwell_threshold_s: float | None = Field(
        None, gt=0, description="training repeats an item once for each full threshold of dwell"
    )

    neighbours: int = Field(100, ge=1, le=100_000, description="items, or sessions, that a kNN keeps")
    sampled_sessions: int = Field(1000, ge=1, description="newest sessions that V-SkNN compares")
    shrinkage: float = Field(20.0, ge=0, description="added to the supports of item-kNN")
    decay: float = Field(1.0, gt=0, description="of decayed-item-knn, for each event that has passed")
    decay_time_s: float = Field(
        86_400, gt=0, description="T₀ of time-weighted-item-knn: an event this old weighs 1/e of a new one"
    )
    window_s: float = Field(3600, gt=0, description="newest part of the data that window-pop counts")
    window_events: int = Field(2, ge=1, le=50, description="newest items that sequential-mf reads")

    session_gap_s: float | None = Field(
        1800, gt=0, description="silence that ends a session; None: as logged"
    )
    exclude_session_items: bool = Field(False, description="leave a session's own items out of its lists")

    def of_proposing_network(self) -> ModelConfig:
        """The configuration of the network among the sources of a fused list."""
        return self.model_copy(update={"network": self.proposing_network})

    @field_validator("without_sources", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """Names in one text are separated by commas, as on the command line."""
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _popularity_follows_time(self) -> Self:
        """Counts by event time need the sessions in event-time order, which shuffling breaks."""
        if self.shuffle and self.prior_half_lives_s:
            raise ValueError("shuffle and prior_half_lives_s exclude each other")
        return self
