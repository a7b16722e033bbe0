from stream.sessions.offsets import PendingOffsets
from stream.sessions.watermark import NO_WATERMARK, Watermark


def test_the_watermark_at_the_position_follows_from_the_records_below_it() -> None:
    pending = PendingOffsets()
    for offset, (before_ms, after_ms) in enumerate([(0, 100), (100, 100), (100, 900)]):
        pending.add(offset, Watermark(before_ms), Watermark(after_ms))
    assert pending.finish([]) == (0, NO_WATERMARK)
    assert pending.finish([0, 2]) == (1, Watermark(100))
    assert pending.finish([1]) == (3, Watermark(900))
    pending.advance(3, Watermark(1_000))
    assert pending.finish([]) == (3, Watermark(1_000))
