"""Matrix factorisation with a vector for each user, alone or beside the window of newest items.

Donkers, Loepp, Ziegler, RecSys 2017, section 4 and table 1: a standard factorisation of users and items by
BPR (Rendle et al., UAI 2009), and a sequential one whose time order is a window of the vectors of items
consumed before (Karatzoglou, RecSys 2011). The paper gives no formula; here x_ui = p_u · q_i + b_i, and
x_uwi = (p_u + mean of the window's input vectors) · q_i + b_i.

Shapes: B pairs or sessions, V items, F factors, Y users, P pairs, W items of the window.
Tested by tests/unit/model/networks/baselines/test_user_factorisation.py.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.baselines.matrix_factorisation import BPRMF, SequentialMF, shuffled
from model.networks.baselines.recent_items import NAME, with_newest
from model.networks.network import Columns, State, StateField
from model.optimizers import Rows, build_optimizer

USER = StateField("user", (1,), torch.int64, initial=-1)


class UserMF(BPRMF):
    """Scores by the user's vector alone; a session without a known user has the mean of all vectors."""

    columns = ("item", "user_id")
    user_YF: Tensor
    mean_user_F: Tensor

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        add_user_table(self, vocabulary)

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Learn from every event of a known user, in random order, `config.epochs` times."""
        generator = torch.Generator().manual_seed(config.seed)
        self.item_VF.normal_(0, 0.1, generator=generator)
        self.user_YF.normal_(0, 0.1, generator=generator)
        user_P, item_P = known_users(sessions)
        optimizer = build_optimizer(config)
        scratch_Y = torch.zeros(len(self.user_YF), dtype=torch.int64)
        for chosen_B in shuffled(len(item_P), config.epochs, generator):
            rows_B = user_P[chosen_B]
            user_BF = self.user_YF[rows_B].requires_grad_()
            self._learn(user_BF, item_P[chosen_B], config.regularisation, generator, optimizer)
            assert user_BF.grad is not None
            optimizer.update("user", self.user_YF, user_BF.grad, Rows(rows_B, scratch_Y))
        self.mean_user_F.copy_(self.user_YF.mean(0))

    def state_fields(self) -> tuple[StateField, ...]:
        """The user's index, -1 while none is known."""
        return (USER,)

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the user's vector, B×F."""
        user_B = user_of(inputs, state)
        return vectors_of(user_B, self.user_YF, self.mean_user_F), {"user": user_B[:, None]}


class UserSequentialMF(SequentialMF):
    """Scores by the sum of the user's vector and the mean of the window's input vectors."""

    columns = ("item", "user_id")
    user_YF: Tensor
    mean_user_F: Tensor

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        add_user_table(self, vocabulary)

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Learn from every event of a known user and the window before it, `config.epochs` times."""
        generator = torch.Generator().manual_seed(config.seed)
        for table in (self.item_VF, self.input_VF, self.user_YF):
            table.normal_(0, 0.1, generator=generator)
        user_N, item_N = all_users(sessions)
        target_P, window_PW = self.windows(sessions)
        of_known = user_N[target_P] >= 0
        target_P, window_PW = target_P[of_known], window_PW[of_known]
        optimizer = build_optimizer(config)
        scratch_Y = torch.zeros(len(self.user_YF), dtype=torch.int64)
        for chosen_B in shuffled(len(target_P), config.epochs, generator):
            window_BW, rows_B = window_PW[chosen_B], user_N[target_P[chosen_B]]
            context_BF = (self.user_YF[rows_B] + self.mean(window_BW)).requires_grad_()
            items_B = item_N[target_P[chosen_B]]
            self._learn(context_BF, items_B, config.regularisation, generator, optimizer)
            assert context_BF.grad is not None
            self.learn_window(window_BW, context_BF.grad, optimizer)
            optimizer.update("user", self.user_YF, context_BF.grad, Rows(rows_B, scratch_Y))
        self.mean_user_F.copy_(self.user_YF.mean(0))

    def state_fields(self) -> tuple[StateField, ...]:
        """The newest items, and the user's index, -1 while none is known."""
        return (*super().state_fields(), USER)

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the sum of the user's vector and the window's mean, B×F."""
        user_B = user_of(inputs, state)
        _, after = with_newest(inputs, state)
        output_BF = vectors_of(user_B, self.user_YF, self.mean_user_F) + self.mean(after[NAME])
        return output_BF, {**after, "user": user_B[:, None]}


def add_user_table(network: BPRMF, vocabulary: Vocabulary) -> None:
    """Give the network a vector for each known user, and their mean."""
    users = vocabulary.features.size("user_id")
    network.register_buffer("user_YF", torch.zeros(max(1, users), network.factors))
    network.register_buffer("mean_user_F", torch.zeros(network.factors))


def user_of(inputs: Columns, state: State) -> Tensor:
    """Each session's user, B: the event's, or the one before it; -1 for none."""
    return torch.where(inputs["user_id"] >= 0, inputs["user_id"], state["user"][:, 0])


def vectors_of(user_B: Tensor, user_YF: Tensor, mean_user_F: Tensor) -> Tensor:
    """The users' vectors, B×F; the mean of all for -1."""
    return torch.where((user_B >= 0)[:, None], user_YF[user_B.clamp(min=0)], mean_user_F)


def all_users(sessions: Sessions) -> tuple[Tensor, Tensor]:
    """User, -1 for none, and item of every event. Raises NextclickError when no event has a user."""
    users = np.asarray(sessions.columns["user_id"], np.int64)
    if not (users >= 0).any():
        raise NextclickError(
            "no event of the training part has a user",
            "A factorisation of users and items has nothing to learn from.",
            "Choose bpr-mf or sequential-mf, or name a log that says who did what.",
        )
    return torch.from_numpy(users), torch.from_numpy(sessions.items.astype(np.int64))


def known_users(sessions: Sessions) -> tuple[Tensor, Tensor]:
    """User and item of every event that has a user."""
    user_N, item_N = all_users(sessions)
    return user_N[user_N >= 0], item_N[user_N >= 0]
