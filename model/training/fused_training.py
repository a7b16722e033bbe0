"""Training of a fused list: the ranker learns from sessions that no source has learned from.

1. The sources learn from the earlier sessions. The network does from its beginning, unless the model to
   go on from has surely learned from none of the later ones.
2. The ranker learns from the later sessions whom to believe when; a second one learns the same where the
   sources follow the events.
3. The sources learn from all sessions, the network from where the training starts.

Shapes: L lists to learn from, C candidates, F features.
Tested by tests/unit/model/training/test_fused_training.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.batches import session_parallel
from model.data.sessions import Sessions
from model.evaluation.rank_targets import LANES
from model.networks.by_name import build_fused
from model.networks.fused.fused_list import FusedList, Proposals
from model.networks.fused.source_arrays import FEATURES, STANDING_FEATURES
from model.networks.input_columns import InputColumns
from model.networks.network import GradientNetwork
from model.training.epochs import Epochs
from model.training.following_lists import can_follow, following_lists
from model.training.run_options import Progress, RunOptions
from model.training.trained_model import TrainedModel
from model.training.training_data import TrainingData
from model.training.warm_start import WarmStart

HELD_OUT = 0.15  # newest part of the sessions, from which the ranker learns
LISTS = 20_000
FEWEST_LISTS = 50  # with fewer, the sources' ranks are added up instead
PREFIX = "network."


def train_fused(
    fused: FusedList,
    data: TrainingData,
    config: ModelConfig,
    start: WarmStart | None,
    run: RunOptions,
    counted: Sessions | None = None,
) -> TrainedModel:
    """Train the sources and the ranker. Returns the fused list with the course of the last training.

    The sources count `counted`, None: the sessions of `data`. Raises NextclickError as the training of its
    network does.
    """
    sessions = data.sessions
    cut = len(sessions) - max(1, int(HELD_OUT * len(sessions)))
    earlier, later = sessions.between(0, cut), sessions.between(cut, len(sessions))
    if not earlier.pairs:
        # One session cannot be held out of one.
        earlier = later = sessions
    started = time.perf_counter()
    network, network_config = fused.network, config.of_proposing_network()
    first = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    earlier_file = None if run.checkpoint is None else run.checkpoint.of_part("earlier")
    part = replace(
        run,
        checkpoint=earlier_file,
        after_epoch=lambda epoch, scored: None,
        progress=lambda done: run.progress(replace(done, epochs=2 * done.epochs)),
    )
    # Without patience the validation only draws a curve, and this training's curve is not shown.
    validation = None if config.patience is None else data.validation
    clean = start if start is not None and start.knows_none_of(later) else None
    part_data = TrainingData(earlier, data.vocabulary, validation)
    _train_network(network, part_data, network_config, clean, part)
    counted_earlier, first_later = earlier, cut
    if counted is None or earlier is later:
        counted = sessions
    else:
        begins_ms, ends_ms = (counted.times_ms[at] for at in (counted.offsets[:-1], counted.offsets[1:] - 1))
        first_later = int(np.searchsorted(begins_ms, later.times_ms[0]))
        # A session that goes on may be cut to one of the later sessions.
        counted_earlier = counted.select(np.flatnonzero(ends_ms[:first_later] < later.times_ms[0]))
    fused.sources.fit(counted_earlier)
    goes_on = clean is not None and _take_rankers(fused, clean)
    lists = lists_of(fused, later)
    ranker_lists = len(lists[1])
    if ranker_lists >= FEWEST_LISTS:
        fused.ranker.fit(*lists, config.seed, goes_on=goes_on)
    del lists
    if not goes_on:
        fused.following_ranker.take(fused.ranker)
    # The same sessions again, with sources that follow the events: whom to believe is another question.
    if can_follow(fused) and earlier is not later:
        trained_V = np.bincount(earlier.items, minlength=fused.items) > 0
        if clean is not None:
            trained_V |= clean.vocabulary.encode(list(data.vocabulary.item_ids)) >= 0
        following = together(following_lists(fused, counted, first_later, LISTS, trained_V), len(FEATURES))
        if len(following[1]) >= FEWEST_LISTS:
            fused.following_ranker.fit(*following, config.seed, goes_on=goes_on)
    network.load_state_dict(first)
    torch.manual_seed(config.seed)
    result = _train_network(network, data, network_config, start, replace(run, progress=_second_half(run)))
    fused.sources.fit(counted)
    if earlier_file is not None:
        earlier_file.remove()
    result.network, result.config, result.ranker_lists = fused, config, ranker_lists
    result.seconds = time.perf_counter() - started
    return result


def go_on(trained: TrainedModel, rest: TrainingData, whole: Sessions, run: RunOptions) -> TrainedModel:
    """Let the network learn from the sessions of `rest` and count those of `whole`; the ranker stays.

    The vocabulary of `rest` begins with that of `trained`.
    """
    assert isinstance(trained.network, FusedList)
    config = trained.config
    fused = build_fused(config, rest.vocabulary)
    fused.ranker.load_state_dict(trained.network.ranker.state_dict())
    fused.following_ranker.load_state_dict(trained.network.following_ranker.state_dict())
    known = rest._replace(sessions=rest.sessions.known())
    result = _train_network(fused.network, known, config.of_proposing_network(), trained.warm_start(), run)
    fused.sources.fit(whole.known())
    result.network, result.config = fused.eval(), config
    return result


def _train_network(
    network: GradientNetwork,
    data: TrainingData,
    config: ModelConfig,
    start: WarmStart | None,
    run: RunOptions,
) -> TrainedModel:
    """Train the network alone; a start that is a fused list gives the weights of its network."""
    if start is not None and any(name.startswith(PREFIX) for name in start.weights):
        weights = {n.removeprefix(PREFIX): t for n, t in start.weights.items() if n.startswith(PREFIX)}
        start = replace(start, weights=weights)
    return Epochs(network, data, config, start, run).run()


def _take_rankers(fused: FusedList, start: WarmStart) -> bool:
    """Begin with the rankers of the model to go on from. Returns whether it has any."""
    for name, ranker in (("ranker.", fused.ranker), ("following_ranker.", fused.following_ranker)):
        weights = {n.removeprefix(name): t for n, t in start.weights.items() if n.startswith(name)}
        if not weights:
            return False
        ranker.load_state_dict(weights)
    return True


def _second_half(run: RunOptions) -> Callable[[Progress], None]:
    def progress(done: Progress) -> None:
        run.progress(replace(done, epoch=done.epoch + done.epochs, epochs=2 * done.epochs))

    return progress


def lists_of(fused: FusedList, sessions: Sessions) -> tuple[Tensor, Tensor, Tensor]:
    """The lists before about `LISTS` next events by sources that stand still, as `together` says."""
    return together(_standing_lists(fused, sessions), STANDING_FEATURES)


@torch.inference_mode()
def _standing_lists(fused: FusedList, sessions: Sessions) -> Iterator[tuple[Proposals, Tensor]]:
    sessions = sessions.sample(LISTS) if sessions.pairs else sessions
    columns = InputColumns(fused, sessions)
    state = fused.initial_state(0)
    fused.eval()
    for batch in session_parallel(sessions, LANES):
        state = fused.carry(state, batch)
        output_BH, state = fused.advance(columns.at(batch.rows), state)
        yield fused.candidates(output_BH, *fused.propose(output_BH)), columns.targets(batch.rows)


def together(waves: Iterable[tuple[Proposals, Tensor]], columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Waves of proposals and the next items as one: features, L×C×F, candidates, L, and the item's place, L.

    There are `columns` features. A list without the next item teaches nothing, and is left out.
    """
    features: list[npt.NDArray[np.float32]] = []
    counts: list[npt.NDArray[np.int64]] = []
    places: list[npt.NDArray[np.int64]] = []
    for (ids_BC, features_BCF, count_B), target_B in waves:
        is_target_BC = ids_BC == target_B.numpy()[:, None]
        found_B = is_target_BC.any(1)
        # Narrow parts: padding would take most of the memory.
        widest = int(count_B.max(initial=1))
        features.append(features_BCF[found_B, :widest])
        counts.append(count_B[found_B])
        places.append(is_target_BC[found_B].argmax(1))
    count_L = np.concatenate([*counts, np.zeros(0, np.int64)])
    shape = (len(count_L), int(count_L.max(initial=1)), columns)
    features_LCF = np.zeros(shape, np.float32)
    at = 0
    features.reverse()
    while features:
        # Given up one by one: all of them twice would be the most memory that a training takes.
        piece = features.pop()
        width = min(piece.shape[1], shape[1])
        features_LCF[at : at + len(piece), :width] = piece[:, :width]
        at += len(piece)
    return (
        torch.from_numpy(features_LCF),
        torch.from_numpy(count_L),
        torch.from_numpy(np.concatenate([*places, np.zeros(0, np.int64)])),
    )
