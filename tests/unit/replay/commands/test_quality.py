import json

import pytest

from replay.commands.quality import quality
from tests.harness.quality_view import START_MS, quality_view, scored


def test_a_worker_that_is_named_twice_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    with quality_view(scored(START_MS, 100)) as address:
        quality(worker=[address, f"{address}/", address], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["workers"] == 1
    assert found["windows"]["total"]["all"]["all"]["champion"]["events"] == 100
