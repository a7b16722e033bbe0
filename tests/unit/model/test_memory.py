from pathlib import Path

import pytest

from model.data.vocabulary import LONGEST_ITEM_ID
from model.memory import available_memory_bytes

MIB = 1 << 20


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_the_machine_and_the_control_group_bound_the_free_memory(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 4096 kB\n"})
    assert available_memory_bytes(tmp_path) == 4 * MIB
    group = {
        "sys/fs/cgroup/memory.max": f"{3 * MIB}\n",
        "sys/fs/cgroup/memory.current": f"{2 * MIB}\n",
        "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {MIB // 2}\n",
    }
    write(tmp_path, group)
    assert available_memory_bytes(tmp_path) == MIB + MIB // 2
    write(tmp_path, {"sys/fs/cgroup/memory.max": "max\n"})
    assert available_memory_bytes(tmp_path) == 4 * MIB
    write(
        tmp_path,
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{MIB}",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{2 * MIB}",
        },
    )
    assert available_memory_bytes(tmp_path) == 0


@pytest.mark.parametrize("text", ["", "MemAvailable:\n", "MemAvailable: some kB\n"])
def test_without_figures_the_memory_of_the_machine_counts(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"proc/meminfo": text})
    assert available_memory_bytes(tmp_path) >= available_memory_bytes()


def test_the_longest_item_id_is_that_of_an_event() -> None:
    from stream.events import Event, RejectedEvent, decode_event, encode_event

    decode_event(encode_event(Event("s", 1_700_000_000_000, "x" * LONGEST_ITEM_ID)))
    with pytest.raises(RejectedEvent):
        decode_event(encode_event(Event("s", 1_700_000_000_000, "x" * (LONGEST_ITEM_ID + 1))))
