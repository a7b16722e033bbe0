"""The configuration of a model version: network, loss, training; saved beside its weights.

Immutable and complete: a version's config and data make the same weights again.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelConfig(BaseModel):
    """What is trained, and how. Defaults reach the published quality on RSC15 at 100 units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = "gru4rec"
    hidden_size: int = Field(100, ge=1, le=8192)
    layers: int = Field(1, ge=1, le=8)
    dropout_embedding: float = Field(0.0, ge=0, lt=1)
    dropout_hidden: float = Field(0.0, ge=0, lt=1)

    loss: Literal["cross-entropy"] = "cross-entropy"
    negatives: int = Field(2048, ge=0, le=1 << 20, description="extra negatives, shared by the batch")
    alpha: float = Field(0.75, ge=0, le=2, description="negatives are drawn by popularity ** alpha")
    logq: float = Field(1.0, ge=0, le=1, description="share of the logQ correction")

    epochs: int = Field(5, ge=1, le=10_000)
    batch_size: int = Field(32, ge=1, le=65_536)
    learning_rate: float = Field(0.05, gt=0, le=10)
    momentum: float = Field(0.0, ge=0, lt=1)
    seed: int = 42

    session_gap_s: float | None = Field(
        1800, gt=0, description="silence that ends a session; None: as logged"
    )
    exclude_session_items: bool = Field(False, description="leave a session's own items out of its lists")
