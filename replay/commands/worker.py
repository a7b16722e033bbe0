"""`nextclick worker`: the stream worker.

Tested by tests/integration/test_command_line.py.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from replay.commands.options import Brokers, RegistryDir
from replay.commands.outputs import check_folder
from replay.console import start_logs
from stream.app import run_worker
from stream.logs import name_process
from stream.processes.children import check_ports, child_settings, process_count
from stream.processes.siblings import Siblings
from stream.processes.supervisor import Supervisor
from stream.processes.table import ProcessTable
from stream.settings import load_settings


def worker(
    bootstrap_servers: Brokers = None,
    registry: RegistryDir = None,
    state_dir: Annotated[Path | None, typer.Option(help="folder of the session stores")] = None,
    worker_id: Annotated[str | None, typer.Option(help="name of this worker, unique per process")] = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="partitions of events and of recommendations")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda")] = None,
    deterministic: Annotated[
        bool | None, typer.Option(help="pad waves, so that lists are equal byte for byte")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="TOML file of what may be listed")] = None,
    web_port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    processes: Annotated[
        str | None, typer.Option(metavar="N|auto", help="each with partitions of its own; auto: one a core")
    ] = None,
) -> None:
    """Run a stream worker: one step per event, top-20 lists out. Ends by SIGTERM or Ctrl-C."""
    flags = {name: value for name, value in locals().items() if name != "registry"}
    settings = load_settings(**flags, registry_dir=registry)
    start_logs(settings)
    check_folder("--state-dir", settings.state_dir)
    count = process_count(settings)
    if count == 1:
        run_worker(settings)
        return
    check_ports(settings, count)
    table = ProcessTable(count)
    # Returns in each process; from here on it is a worker of its own.
    number = Supervisor(table).run()
    name_process(number)
    siblings = None if number else Siblings.of(settings, table)
    run_worker(child_settings(settings, number), siblings, functools.partial(table.serve, number))
