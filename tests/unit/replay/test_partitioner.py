from aiokafka.partitioner import murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.partitioner import partitions_of


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 12))
def test_keys_lie_where_kafkas_clients_place_them(keys: list[bytes], partitions: int) -> None:
    expected = [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]
    assert partitions_of(keys, partitions).tolist() == expected
