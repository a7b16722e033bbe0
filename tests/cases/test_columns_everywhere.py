"""One way to name the columns of a log, in every command that reads one."""

from pathlib import Path

from tests.harness.commands import run_main

COLUMNS = ("--columns", "session=sid,item=sku,time=at")


def test_a_file_of_ones_own_is_read_by_every_command(tmp_path: Path) -> None:
    log, later, registry = tmp_path / "own.csv", tmp_path / "later.csv", tmp_path / "registry"
    rows = [f"s{n // 4},i{n % 5},{1_700_000_000 + 10 * n}" for n in range(800)]
    log.write_text("sid,sku,at\n" + "\n".join(rows[:400]) + "\n")
    later.write_text("sid,sku,at\n" + "\n".join(rows[400:]) + "\n")
    for arguments in (
        ("train", log, "--network", "pop", "--registry", registry),
        ("train", log, "--test", later, "--network", "pop", "--registry", registry),
        ("evaluate", later, "--registry", registry),
        ("compare", log, "--models", "pop"),
        ("data", "report", log, "--test", later),
    ):
        ended = run_main(*arguments, *COLUMNS)
        assert ended.code == 0, ended.errors
