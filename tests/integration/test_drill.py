"""The short form of deploy/drill: three faults on real processes, each with its alert of a real Prometheus.

No time is judged here, since this machine may be slow; the whole drill is run by hand.
"""

import os
import signal
from collections.abc import Iterator

import pytest

from deploy.drill.__main__ import main

pytestmark = [pytest.mark.kafka, pytest.mark.prometheus, pytest.mark.timeout(2400)]
ALERTS = {"kill": "WorkerDown", "away": "PartitionsUnserved", "no-traffic": "NoTraffic"}


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the program sets for its process is undone."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_kill_all_workers_away_and_no_traffic_raise_their_alerts_and_nothing_is_lost(
    kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (
        "--factor 30 --quiet-s 0 --rate 20 --no-judge-times --session-timeout-ms 120000 --patience-s 600"
    )
    code = main([*options.split(), "--bootstrap-servers", kafka, "--faults", *ALERTS])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    rows = [line.strip("| ").split(" | ") for line in printed.out.splitlines() if line.startswith("|")]
    found = {cells[0]: cells for cells in rows[2:]}
    assert [cells[1] for cells in found.values()] == list(ALERTS.values())
    for fault in ("SIGKILL of a worker", "all workers away"):
        events, lost, _, changed = found[fault][5:9]
        assert int(events) > 0
        assert (lost, changed) == ("0", "0"), printed.out
