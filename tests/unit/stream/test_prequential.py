import pytest

from stream.prequential import RollingQuality


def test_recall_and_mrr_roll_over_the_newest_events() -> None:
    quality = RollingQuality(window=4)
    for rank in (1, None, 2, 4, None):
        quality.add(rank)
    assert quality.rolling().events == 4
    assert quality.rolling().recall == pytest.approx(2 / 4)
    assert quality.rolling().mrr == pytest.approx((1 / 2 + 1 / 4) / 4)
    assert quality.total().recall == pytest.approx(3 / 5)
    assert quality.total().mrr == pytest.approx((1 + 1 / 2 + 1 / 4) / 5)


def test_nothing_scored_is_zero_of_zero() -> None:
    assert RollingQuality(4).rolling().events == 0
    assert RollingQuality(4).total().recall == 0
