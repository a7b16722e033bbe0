"""`nextclick demo`: the main job from end to end on this machine, with the bundled log or one's own.

Tested by tests/unit/replay/commands/test_demo.py and tests/deploy/test_wheel.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replay.commands.options import Columns, MappingFile, log_mapping
from replay.datasets.event_files import EventFiles
from replay.end_to_end.demo import bundled_log, run


def demo(
    file: Annotated[
        list[Path] | None, typer.Option(help="an event file of any supported format; several are one log")
    ] = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    epochs: Annotated[int, typer.Option(min=1, help="epochs of the first model")] = 2,
    seconds: Annotated[
        float, typer.Option(min=0, help="how long the replay takes; 0: as fast as it goes")
    ] = 40,
) -> None:
    """Train on a log, serve it by a real worker and show the lists, without Kafka: the broker is in-process.

    Exit: 1 when not every event got its list.
    """
    named = log_mapping(columns, mapping)
    if named is not None and not file:
        raise typer.BadParameter("--columns and --log are of a log of one's own: name it by --file")
    files = EventFiles(file or [bundled_log()], columns=named, on_error="skip")
    raise typer.Exit(run(files, epochs=epochs, seconds=seconds))
