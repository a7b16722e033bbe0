"""commands.md and metrics.md are what the generator makes of the code; pages name series that exist."""

import re
from pathlib import Path

import pytest

from deploy.docs.generate import FOLDER, files
from deploy.docs.metrics_found import Series, series
from tests.conftest import ROOT
from tests.harness.pages import PAGES

FOUND = series(ROOT)


@pytest.mark.parametrize("name", ["commands.md", "metrics.md"])
def test_the_page_is_what_the_generator_makes(name: str) -> None:
    assert (FOLDER / name).read_text() == files()[name], "run python deploy/docs/generate.py"


def test_every_series_has_a_meaning_and_a_program() -> None:
    assert len(FOUND) > 80
    assert len({one.name for one in FOUND}) == len(FOUND)
    assert all(one.help for one in FOUND)
    assert "## Other" not in files()["metrics.md"]


def test_every_series_that_a_page_names_exists() -> None:
    names = {one.name for one in FOUND}
    for page in PAGES:
        if page.path.name != "runbook.md":  # Its rows are held by test_runbook.py.
            for name in re.findall(r"`(nextclick_[a-z0-9_]+)(?:\{[^}]*\})?`", page.text):
                assert name in names, f"{page.path.name}: {name}"


def test_series_of_loops_local_names_and_constants_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "found_here"
    folder.mkdir()
    (folder / "some.py").write_text(
        "from prometheus_client import Counter\n"
        "from prometheus_client.metrics_core import GaugeMetricFamily as Gauge\n"
        "FIGURES = {'bytes': ('on disk', 1), 'keys': ('stored', 2)}\n"
        "LABELS = ('partition',)\n"
        "def collect(registry, value):\n"
        "    Counter('read', 'events read', ['topic'], registry=registry)\n"
        "    for name in ('one', 'two'):\n"
        "        text = f'of {name}'\n"
        "        yield Gauge(f'number_{name}', text, value=value)\n"
        "    return [Gauge(f'store_{n}', h, labels=['a', *LABELS]) for n, (h, _) in FIGURES.items()]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert series(tmp_path, ["found_here"]) == [
        Series("read_total", "counter", ("topic",), "events read", "found_here/some.py"),
        Series("number_one", "gauge", (), "of one", "found_here/some.py"),
        Series("number_two", "gauge", (), "of two", "found_here/some.py"),
        Series("store_bytes", "gauge", ("a", "partition"), "on disk", "found_here/some.py"),
        Series("store_keys", "gauge", ("a", "partition"), "stored", "found_here/some.py"),
    ]


def test_a_series_that_only_a_run_could_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "named_later"
    folder.mkdir()
    (folder / "some.py").write_text(
        "from prometheus_client import Counter\ndef make(name):\n    Counter(name, 'x')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"named_later/some\.py:3: name the series"):
        series(tmp_path, ["named_later"])
