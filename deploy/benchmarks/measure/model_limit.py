"""The model-only limit: full waves stepped and nothing else, with the best use of the cores.

Each measurement runs in its own process: a process that has trained before steps at half the speed,
because its memory is laid out differently.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.registry.registry import Registry
from model.stepping.stepper import Stepper

LIMIT_STEPS = 300
Threads = tuple[int, int]
Rates = Mapping[Threads, float]


def limits(registry: Path, version: str, device: str, wave_size: int, items: npt.NDArray[np.int64]) -> Rates:
    """Events/s by (step threads, torch's threads in each): one with 1 to all cores, and all with one."""
    cores = os.cpu_count() or 1
    counts = sorted({(1, threads) for threads in range(1, cores + 1)} | {(cores, 1)})
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_measure, registry, version, device, wave_size, items, counts).result()


def best(rates: list[Rates]) -> tuple[Threads, float]:
    """Of repeated measurements by threads: those with the highest mean, and that mean."""
    means = {threads: sum(r[threads] for r in rates) / len(rates) for threads in rates[0]}
    threads = max(means, key=means.__getitem__)
    return threads, means[threads]


def _measure(
    registry: Path,
    version: str,
    device: str,
    wave_size: int,
    items: npt.NDArray[np.int64],
    counts: list[Threads],
) -> Rates:
    model = Registry(registry).load(version)
    rates: dict[Threads, float] = {}
    for step_threads, torch_threads in counts:
        torch.set_num_threads(torch_threads)
        stepper = Stepper(model, device=device, wave_size=wave_size)
        stepper.warm_up()
        with ThreadPoolExecutor(
            step_threads, initializer=torch.set_num_threads, initargs=(torch_threads,)
        ) as pool:
            started = time.perf_counter()
            steps = [
                pool.submit(_step, stepper, wave_size, items, number * LIMIT_STEPS)
                for number in range(step_threads)
            ]
            stepped = sum(one.result() for one in steps)
            rates[step_threads, torch_threads] = stepped / (time.perf_counter() - started)
    return rates


def _step(stepper: Stepper, wave_size: int, items: npt.NDArray[np.int64], first: int) -> int:
    """Step full waves of the items, states carried in memory; → how many events."""
    rows = stepper.initial_rows(wave_size)
    for wave in range(first, first + LIMIT_STEPS):
        at = wave * wave_size % max(1, len(items) - wave_size)
        _, _, rows = stepper.step({"item": items[at : at + wave_size]}, rows)
    return LIMIT_STEPS * wave_size
