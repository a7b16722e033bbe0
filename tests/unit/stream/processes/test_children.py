import socket
from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.process_settings import cores
from stream.processes.children import check_ports, child_settings, process_count
from stream.settings import Settings, load_settings


def test_the_first_process_keeps_the_name_the_stores_and_the_port_of_the_worker() -> None:
    settings = Settings(worker_id="shop", state_dir=Path("s"), web_port=7000, processes=2)
    first = child_settings(settings, 0)
    assert (first.worker_id, first.state_dir, first.web_port) == ("shop", Path("s"), 7000)
    assert first.processes == 1


def test_the_others_have_a_name_a_folder_a_port_and_an_address_of_their_own() -> None:
    settings = Settings(worker_id="shop", web_port=7000, web_address="shop-0.workers:7000", processes=3)
    children = [child_settings(settings, n) for n in range(3)]
    for values in zip(
        *[(c.worker_id, c.state_dir, c.web_port, c.web_address) for c in children], strict=True
    ):
        assert len(set(values)) == 3
    assert children[2].web_address == "shop-0.workers:7002"


def test_a_process_steps_in_one_thread_unless_the_settings_say_otherwise() -> None:
    assert child_settings(Settings(), 0).step_threads == 1
    assert child_settings(Settings(step_threads=2), 1).step_threads == 2


def test_what_the_first_process_passes_on_counts_as_its_clients_and_other_proxies_stay_trusted() -> None:
    child = child_settings(Settings(web_host="10.0.0.7", web_trusted_proxies="10.1.0.0/16"), 1)
    assert set(child.web_trusted_proxies.split(",")) == {"10.0.0.7", "10.1.0.0/16", "127.0.0.1", "::1"}
    assert child_settings(Settings(), 0).web_trusted_proxies == ""


def test_auto_is_a_process_for_each_core_and_at_most_one_for_each_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEXTCLICK_PROCESSES", "auto")
    assert process_count(load_settings(partitions=64)) == min(64, cores())
    assert process_count(load_settings(partitions=1)) == 1
    monkeypatch.setenv("NEXTCLICK_PROCESSES", "3")
    assert process_count(load_settings(partitions=4)) == 3


def test_more_processes_than_partitions_are_refused() -> None:
    with pytest.raises(NextclickError, match="5 processes for 4 partitions"):
        process_count(Settings(processes=5, partitions=4))


def test_no_processes_and_words_are_refused() -> None:
    for value in ("0", "-1", "many"):
        with pytest.raises(NextclickError, match="processes"):
            load_settings(processes=value)


def test_a_taken_port_is_named_before_anything_starts() -> None:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(NextclickError, match=f"port {port} of 127.0.0.1 is taken; process 1 needs it"):
            check_ports(Settings(web_port=port - 1), 2)


def test_each_process_has_a_probe_port_that_is_no_port_of_clients() -> None:
    settings = Settings(web_port=7000, web_probe_port=7002)
    assert [child_settings(settings, number).web_probe_port for number in (0, 1)] == [7002, 7003]
    for near in (7001, 6999):
        with pytest.raises(NextclickError, match=f"web_probe_port {near} is too near to web_port 7000"):
            check_ports(Settings(web_port=7000, web_probe_port=near), 2)


def test_a_taken_probe_port_is_named_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(web_port=port + 100 if port < 60_000 else port - 100, web_probe_port=port - 1)
        with pytest.raises(NextclickError, match=f"port {port} of 127.0.0.1 is taken; process 1") as error:
            check_ports(settings, 2)
        assert "web_probe_port" in str(error.value)


def test_ports_beyond_the_last_one_are_refused() -> None:
    with pytest.raises(NextclickError, match="65535 to 65536"):
        check_ports(Settings(web_port=65_535), 2)
    with pytest.raises(NextclickError, match="Name a lower web_probe_port"):
        check_ports(Settings(web_probe_port=65_535), 2)
