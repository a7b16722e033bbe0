from aiokafka.partitioner import murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.kafka.batch_partitioner import partitions_of

# Of Kafka's own UtilsTest.testMurmur2.
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_the_vectors_of_kafka_are_met() -> None:
    found = partitions_of(list(VECTORS), 2**31)
    assert found.tolist() == [vector & 0x7FFFFFFF for vector in VECTORS.values()]


def test_keys_of_every_length_lie_where_kafkas_clients_place_them() -> None:
    keys = [bytes(range(1, 1 + length)) for length in range(40)] + ["сессия-🛒".encode()]
    assert partitions_of(keys, 7).tolist() == [(murmur2(key) & 0x7FFFFFFF) % 7 for key in keys]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 12))
def test_keys_lie_where_kafkas_clients_place_them(keys: list[bytes], partitions: int) -> None:
    expected = [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]
    assert partitions_of(keys, partitions).tolist() == expected
