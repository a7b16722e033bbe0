"""Training and evaluation on a device other than the CPU, emulated: no mixed devices, few waits."""

import json
import subprocess
import sys
from typing import Any

import pytest

from model.networks.by_name import NETWORKS
from tests.conftest import ROOT

# Every network is trained twice.
pytestmark = pytest.mark.timeout(3_000)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """By network, what differed; the emulation changes torch, so it has a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.harness.trained_on_device"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2_800, check=False)
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def test_every_network_learns_and_is_evaluated_on_a_device_as_on_the_cpu(found: dict[str, Any]) -> None:
    assert found.keys() == NETWORKS.keys()
    for name, one in found.items():
        assert one["losses"] < 1e-5, name
        # A tie may fall the other way.
        assert one["moved"] <= one["targets"] // 50, name


def test_the_processor_waits_for_the_device_at_most_once_a_batch(found: dict[str, Any]) -> None:
    one = found["gru4rec"]
    waited = {line: count for line, count in one["waits"].items() if not line.startswith("to device")}
    each_batch = {line for line, count in waited.items() if count >= one["batches"]}
    # The distinct rows of a batch; losses are read together.
    assert len(each_batch) == 1 and "model/optimizers.py" in min(each_batch)
    in_epochs = sum(count for line, count in waited.items() if "to host" in line)
    assert in_epochs < one["batches"]
