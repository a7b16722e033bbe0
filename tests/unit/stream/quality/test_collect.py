import pytest

from model.errors import NextclickError
from stream.quality.collect import collect
from stream.quality.sums import measured
from tests.harness.quality_view import START_MS, quality_view, scored


def test_windows_of_all_workers_end_where_the_farthest_ends() -> None:
    with quality_view(scored(START_MS, 120)) as behind, quality_view(scored(START_MS, 150)) as ahead:
        for workers in ([behind, ahead], [ahead, behind]):
            sums = collect(workers)
            assert sums.until_ms == START_MS + 150 * 60_000
            # The one ahead has 60 of its minutes in the hour, the one behind the 30 that lie in it.
            assert measured(sums.windows["1h"]["all"]["all"])["champion"].events == 90
            assert measured(sums.windows["24h"]["all"]["all"])["champion"].events == 270


def test_workers_with_different_settings_are_not_added() -> None:
    with quality_view(scored(START_MS, 10)) as one, quality_view(scored(START_MS, 10, fading=0.5)) as other:
        with pytest.raises(NextclickError) as refused:
            collect([one, other])
        assert "NEXTCLICK_QUALITY_FADING" in refused.value.remedy
