"""Training, evaluation and serving on a device other than the CPU, emulated: no mixed devices, few waits."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from model.networks.by_name import NETWORKS
from tests.conftest import ROOT

# Every network is trained twice.
pytestmark = pytest.mark.timeout(3_000)


def compared(**environment: str) -> dict[str, Any]:
    """By network, what differed; the emulation changes torch, so it has a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.harness.trained_on_device"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=2_800,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What differed on the emulated device."""
    return compared()


def test_every_network_learns_and_is_evaluated_on_a_device_as_on_the_cpu(found: dict[str, Any]) -> None:
    assert found.keys() == NETWORKS.keys()
    for name, one in found.items():
        assert one["losses"] < 1e-5, name
        # A tie may fall the other way.
        assert one["moved"] <= one["targets"] // 50, name


def test_the_processor_waits_for_no_batch_of_the_device(found: dict[str, Any]) -> None:
    for name, one in found.items():
        waited = {line: count for line, count in one["waits"].items() if not line.startswith("to device")}
        # Losses are read every 50 batches and at the end of an epoch, weights and states at its end.
        in_batches = {line: n for line, n in waited.items() if "model/training/epochs.py" not in line}
        assert max(in_batches.values(), default=0) <= one["epochs"], (name, in_batches)
        assert max(waited.values(), default=0) < max(1, one["batches"]), name


# Baselines: neighbours that are looked for on the CPU, and weights by position that lie there.
ON_CPU = {"v-sknn", "decayed-item-knn"}


def test_a_wave_on_a_device_has_the_lists_of_the_cpu_for_one_copy_each_way(found: dict[str, Any]) -> None:
    for name, one in found.items():
        served = one["served"]
        assert served["moved"] == 0, name
        assert served["states"] < 1e-5, name
        for wave in () if name in ON_CPU else served["waits"]:
            copies = {line.rsplit(":", 1)[0]: count for line, count in wave.items()}
            # What is masked, and what is unlisted, costs no more of them.
            assert copies == {
                "to device model/stepping/wave_copies.py": 1,
                "to host model/stepping/wave_copies.py": 1,
            }, name


def test_followed_tables_on_a_device_are_those_of_the_cpu_for_the_rows_that_moved(
    found: dict[str, Any],
) -> None:
    followed = {name: one["followed"] for name, one in found.items() if one["followed"]}
    assert followed.keys() >= {"gru4rec", "fused", "feature-lstm", "recurrent", "user-gru-linear"}
    for name, one in followed.items():
        assert one["moved"] == 0, name
        on_cpu, on_device = one["new"]
        assert on_cpu == on_device, name
        # New items are in the lists; those of a fused list are proposed by the sources that saw them.
        assert name == "fused" or on_cpu, name
        assert sum(one["waits"].values()) <= 5, name


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_every_network_learns_is_served_and_follows_on_a_gpu_as_on_the_cpu() -> None:
    for name, one in compared(NEXTCLICK_TEST_DEVICE="cuda").items():
        # Sums of float32 in another order.
        assert one["losses"] < 1e-3, name
        assert one["moved"] <= one["targets"] // 20, name
        assert one["served"]["states"] < 1e-3, name
        assert one["served"]["moved"] <= 2, name
