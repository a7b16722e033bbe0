"""Lists and scores of a session as it stands: read out of its stored state, without a step.

The output of a recurrent network is in the state that it came with; other networks step the session's
last event again, from a state that the caller has without it. May run beside steps, whose lists they equal.

Shapes: B = 1 session, or the wave's size where lists are equal byte for byte, H units of the output,
V items, C candidates, M masked items, k list length, R bytes of a packed state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.networks.fused.fused_list import FusedList
from model.networks.item_scores import item_scores
from model.networks.network import GradientNetwork
from model.stepping.state_layout import Rows
from model.stepping.stepper import NumpyColumns, Stepper
from model.stepping.unlisted_items import AsIf

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class CandidateScores(NamedTuple):
    """Scores of candidates, C, NaN where there is none; `by_ranker`: whose score is that of a fused list.

    The scores of a fused list's ranker and of its network are of different kinds.
    """

    scores_C: Scores
    by_ranker_C: npt.NDArray[np.bool_]


@torch.inference_mode()
def output_of_state(stepper: Stepper, row_1R: Rows) -> Tensor | None:
    """What the items were scored by when the session got this state, B×H; None where it is not in it."""
    rows = np.repeat(row_1R, stepper.wave_size, 0) if stepper.deterministic else row_1R
    state = stepper.copies.send_state(rows)
    return stepper.network.scored_output_of(state)


@torch.inference_mode()
def output_of_event(stepper: Stepper, columns: NumpyColumns, row_1R: Rows) -> Tensor:
    """What the items are scored by after one more event of the session, B×H."""
    sessions = stepper.wave_size if stepper.deterministic else 1
    columns = {name: np.repeat(values, sessions) for name, values in columns.items()}
    rows = np.repeat(row_1R, sessions, 0)
    state = stepper.copies.send_state(rows)
    with stepper.lock.reading():
        return stepper.network.advance(stepper.inputs(columns), state)[0]


@torch.inference_mode()
def best_items(stepper: Stepper, output_BH: Tensor, k: int, masked_M: Ids) -> tuple[Ids, Scores]:
    """The list of a step: the k best listable items that are not masked, best first, or fewer."""
    exclude_BM = None
    if len(masked_M):
        exclude_BM = torch.from_numpy(np.tile(masked_M, (len(output_BH), 1))).to(stepper.device)
    with stepper.lock.reading():
        ids_Bk, scores_Bk, _ = stepper.best(output_BH, k, exclude_BM)
    found = ids_Bk[0] >= 0
    return ids_Bk[0][found].cpu().numpy(), scores_Bk[0][found].float().cpu().numpy()


@torch.inference_mode()
def candidate_scores(
    stepper: Stepper, output_BH: Tensor, items_C: Ids, unlisted_M: Ids | None = None
) -> CandidateScores:
    """The scores of these items, whatever may be listed; an unlisted one may have none.

    A fused list's ranker knows the items that its sources propose; the others have the network's score. With
    `unlisted_M` items are proposed and scored as if only these items were unlisted.
    """
    scores_C, by_ranker_C = np.full(len(items_C), np.nan, np.float32), np.zeros(len(items_C), np.bool_)
    with stepper.lock.reading():
        network, output_1H = stepper.network, output_BH[:1]
        as_if = None
        if unlisted_M is not None and stepper.bias is not None:
            as_if = AsIf.unlisted(stepper.bias.of_all(), unlisted_M)
        if isinstance(network, FusedList):
            ids_1N, ranks_1N = network.rank(stepper.proposals(output_BH, as_if), output_BH.device)
            _look_up(scores_C, items_C, ids_1N[:1], ranks_1N[:1])
            by_ranker_C = ~np.isnan(scores_C)
            output_1H = network.network_output(output_1H)
        rest = np.flatnonzero(~by_ranker_C)
        scored_by = stepper.scoring_network
        if isinstance(scored_by, GradientNetwork) and stepper.bias is not None:
            places = torch.from_numpy(items_C[rest]).to(stepper.device)
            table_CH = scored_by.get_parameter(scored_by.output_table)[places]
            bias_V = stepper.bias.now() if as_if is None else as_if.bias_V
            found_1C = item_scores(output_1H, table_CH, bias_V[places])
            scores_C[rest] = found_1C[0].float().cpu().numpy()
        else:
            found = scored_by.score(output_1H)
            if isinstance(found, Tensor):
                scores_C[rest] = found[0].float().cpu().numpy()[items_C[rest]]
            else:
                _look_up(scores_C, items_C, *found)
    scores_C[~np.isfinite(scores_C)] = np.nan
    return CandidateScores(scores_C, by_ranker_C & ~np.isnan(scores_C))


def _look_up(scores_C: Scores, items_C: Ids, ids_1N: Tensor, found_1N: Tensor) -> None:
    """Set the scores of the candidates that are among (ids, scores)."""
    ids_N, found_N = ids_1N[0].cpu().numpy(), found_1N[0].float().cpu().numpy()
    order_C = np.argsort(items_C)
    at_N = np.searchsorted(items_C, ids_N, sorter=order_C).clip(max=max(0, len(items_C) - 1))
    hit_N = items_C[order_C[at_N]] == ids_N if len(items_C) else np.zeros(len(ids_N), np.bool_)
    scores_C[order_C[at_N[hit_N]]] = found_N[hit_N]
