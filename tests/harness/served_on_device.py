"""Steps waves of a network on the CPU and on the compared device; what differs, and what a wave waits for."""

from __future__ import annotations

import copy
from typing import Any

from tests.harness.compared_device import DEVICE, waits  # isort: skip

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.freshness.moving_tables import FreshnessConfig
from model.freshness.recent_events import RecentEvents
from model.freshness.refresher import TableRefresher
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork, Network
from model.stepping.stepper import Stepper

WAVE = 8
Columns = dict[str, npt.NDArray[Any]]


def waves_of(frame: pd.DataFrame, network: Network, vocabulary: Vocabulary) -> list[Columns]:
    """Three waves of the log's events, as a worker has them."""
    waves = []
    for start in range(0, 3 * WAVE, WAVE):
        part = frame.iloc[start : start + WAVE]
        columns: Columns = {name: part[name].to_numpy(object) for name in network.columns if name != "item"}
        waves.append({**columns, "item": vocabulary.encode(part["item_id"])})
    return waves


def served(
    network: Network, config: ModelConfig, vocabulary: Vocabulary, frame: pd.DataFrame
) -> dict[str, object]:
    """Lists that moved, the largest difference of states, and the waits of a wave and of a masked one."""
    network.to("cpu")
    model = ModelVersion("v1", config, vocabulary, network)
    waves = waves_of(frame, network, vocabulary)
    masked = np.tile(np.array([[1, 4, -1]]), (WAVE, 1))
    found: list[list[npt.NDArray[Any]]] = []
    counted: list[dict[str, int]] = []
    for device in ("cpu", str(DEVICE)):
        stepper = Stepper(model, device=device, k=5, wave_size=WAVE)
        stepper.warm_up()
        stepper.unlisted.mark(np.array([2, 3]), np.array([True, True]))
        rows, lists, counted = stepper.initial_rows(WAVE), [], []
        for columns, exclude in zip(waves, (None, masked, None), strict=True):
            waits.clear()
            ids_Bk, scores_Bk, rows, by_source = stepper.step_by_source(columns, rows, exclude)
            counted.append({f"{what} {line}": count for (what, line), count in waits.items()})
            lists += [ids_Bk, np.zeros(0) if by_source is None else by_source]
            assert np.isfinite(scores_Bk[ids_Bk >= 0]).all()
            # Unlisted and masked items are in no list.
            assert not np.isin(ids_Bk, [2, 3] if exclude is None else [1, 2, 3, 4]).any()
        advanced = stepper.advance(waves[0], rows)
        histories = [{name: column[:length] for name, column in waves[1].items()} for length in (3, 0, 5)]
        found.append([*lists, rows, advanced, stepper.rebuild(histories)])
    on_cpu, on_device = found
    return {
        "moved": sum(int((a != b).any(-1).sum()) for a, b in zip(on_cpu[:-3], on_device[:-3], strict=True)),
        "states": max(_difference(a, b) for a, b in zip(on_cpu[-3:], on_device[-3:], strict=True)),
        "waits": counted,
    }


def followed(
    network: Network, config: ModelConfig, vocabulary: Vocabulary, frame: pd.DataFrame
) -> dict[str, object] | None:
    """Lists that moved after refreshes that list new items; None for a network that cannot be moved."""
    network.to("cpu")
    tables = getattr(network, "network", network)
    if not isinstance(tables, GradientNetwork) or tables.has_own_loss or tables.scores_by_direction:
        return None
    wave = waves_of(frame, network, vocabulary)[0]
    known = vocabulary.item_ids[:4].tolist()
    found, new, counted = [], [], {}
    for device in ("cpu", str(DEVICE)):
        mine = copy.deepcopy(network)
        model = ModelVersion("v1", config, vocabulary, mine, {"data": {"last_event_time_ms": 999}})
        stepper, recent = Stepper(model, device=device, k=5, wave_size=WAVE), RecentEvents(capacity=100)
        refresher = TableRefresher(model, stepper, FreshnessConfig.of("both"), recent, every_ms=1_000)
        for at_ms, item in ((2_000, "new"), (4_000, "newer"), (6_000, "newest")):
            recent.add([(at_ms + n, item, [one], f"{item}{n}") for n, one in enumerate(known)])
            waits.clear()
            assert refresher.refresh(at_ms + 500)
            counted = {f"{what} {line}": count for (what, line), count in waits.items()}
            found.append(stepper.step(wave, stepper.initial_rows(WAVE))[0])
        new.append(int((found[-1] >= len(vocabulary)).sum()))
    moved = sum(int((a != b).any(-1).sum()) for a, b in zip(found[:3], found[3:], strict=True))
    return {"moved": moved, "new": new, "waits": counted}


def _difference(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    """Between packed states; of whole numbers the bytes are equal, or nearly so as floats."""
    if (a == b).all():
        return 0.0
    floats = torch.from_numpy(a.copy()).view(torch.float32), torch.from_numpy(b.copy()).view(torch.float32)
    return float((floats[0] - floats[1]).nan_to_num().abs().max())
