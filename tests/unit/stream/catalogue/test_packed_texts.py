"""Texts by row are what was put last, take little more room than they have, and are never another row's."""

import random
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.catalogue import packed_texts
from stream.catalogue.packed_texts import BLOCK_BYTES, LEAST_UNUSED_BYTES, UNUSED_ONE_OF, PackedTexts

PUT = st.tuples(st.integers(0, 40), st.binary(max_size=60), st.integers(0, 60))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few texts, given up as soon as an eighth is unused."""
    monkeypatch.setattr(packed_texts, "BLOCK_BYTES", 100)
    monkeypatch.setattr(packed_texts, "LEAST_UNUSED_BYTES", 0)


@pytest.fixture
def quick_turns() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


def test_texts_that_change_for_ever_take_no_more_room_than_twice_what_they_are() -> None:
    texts, row = PackedTexts(), 0
    expected = dict.fromkeys(range(50), b"")
    for n in range(30_000):
        row = n * 7 % 50
        expected[row] = b"%d" % n * (n % 80)
        texts.put(row, expected[row])
    assert {row: texts.get(row) for row in expected} == expected
    assert len(texts) < 2 * LEAST_UNUSED_BYTES


def test_of_many_texts_an_eighth_of_the_room_is_unused_at_most() -> None:
    texts, chance, rows = PackedTexts(), random.Random(1), 120_000
    for row in range(rows):
        texts.put(row, b"%0100d" % row)
    expected = {row: b"%0100d" % row for row in range(rows)}
    for n in range(2 * rows):
        row = chance.randrange(rows)
        expected[row] = b"%0100d" % (rows + n)
        texts.put(row, expected[row])
        assert len(texts) * (1 - 1 / UNUSED_ONE_OF) < 1.01 * (rows * 100 + BLOCK_BYTES)
    assert all(texts.get(row) == text for row, text in expected.items())


@pytest.mark.usefixtures("small_blocks")
def test_what_is_found_and_read_is_what_was_put_last_whatever_was_there_before() -> None:
    @settings(deadline=None, max_examples=200)
    @given(puts=st.lists(PUT, max_size=120))
    def check(puts: list[tuple[int, bytes, int]]) -> None:
        texts, expected = PackedTexts(), dict[int, tuple[bytes, int]]()
        for row, text, head in puts:
            texts.put(row, text, min(head, len(text)))
            if expected.get(row, (b"", 0))[0] != text:
                expected[row] = text, min(head, len(text))
            assert all(texts.get(row) == text for row, (text, _) in expected.items())
        for part in (b"a", b"\x00", b"bc"):
            found = set(texts.rows_with([part]).tolist())
            # One row more may be found, by what it had before, none less.
            begins = {row: text.lower().find(part) for row, (text, _) in expected.items()}
            assert found >= {row for row, at in begins.items() if 0 <= at < expected[row][1]}

    check()


def test_a_text_larger_than_a_block_has_its_own_and_leaves_it_at_once() -> None:
    texts = PackedTexts()
    texts.put(0, b"small")
    for n in range(20):
        texts.put(1, b"%d" % n + b"x" * (3 * BLOCK_BYTES))
    assert (texts.get(0), texts.get(1)[:3]) == (b"small", b"19x")
    assert len(texts) < 4 * LEAST_UNUSED_BYTES
    texts.put(1, b"")
    assert (texts.get(0), texts.get(1)) == (b"small", b"")


@pytest.mark.usefixtures("small_blocks", "quick_turns")
def test_a_reader_gets_what_a_row_was_or_is_while_blocks_are_given_up() -> None:
    texts, rows = PackedTexts(), 30
    # Rows 0 to 9 never change, though they go from block to block.
    for row in range(rows):
        texts.put(row, b"row %02d, 0" % row, head=6)
    wrong, reads, done = list[bytes](), [0], threading.Event()

    def read() -> None:
        while not done.is_set():
            for row in range(rows):
                text = texts.get(row)
                if not text.startswith(b"row %02d, " % row) or (row < 10 and text != b"row %02d, 0" % row):
                    wrong.append(text)
            if not {*range(10)} <= {*texts.rows_with([b"row 0"]).tolist()}:
                wrong.append(b"not found")
            reads[0] += 1

    reader = threading.Thread(target=read)
    reader.start()
    n = 0
    while (n < 100_000 or reads[0] < 300) and not wrong:
        n += 1
        texts.put(10 + n % 20, b"row %02d, %d" % (10 + n % 20, n), head=6)
    done.set()
    reader.join()
    assert wrong == []
