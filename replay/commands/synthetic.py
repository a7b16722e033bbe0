"""`nextclick synthetic`: a log of simulated shoppers, of any size, with the best possible Recall@20.

Tested by tests/unit/replay/synthetic/test_shopper_stream.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from replay.commands.options import Json
from replay.commands.outputs import check_file
from replay.console import out, progress_bar
from replay.synthetic.shopper_stream import ShopperStream
from replay.synthetic.shoppers import ShopperSettings
from replay.synthetic.write_file import write_log

DEFAULTS = ShopperSettings()


def synthetic(
    output: Annotated[Path, typer.Option(help="file to write: .csv (in Globo's format), .jsonl or .parquet")],
    events: Annotated[int, typer.Option(min=1, help="rows, repeats included")] = DEFAULTS.events,
    items: Annotated[int, typer.Option(min=10, help="in the catalogue at a time")] = DEFAULTS.items,
    rate: Annotated[float, typer.Option(help="events per second of event time")] = DEFAULTS.rate,
    mean_length: Annotated[
        float, typer.Option(help="mean number of events in a session")
    ] = DEFAULTS.mean_length,
    mean_gap_s: Annotated[
        float, typer.Option(help="mean time between two events of a session")
    ] = DEFAULTS.mean_gap_s,
    noise: Annotated[float, typer.Option(help="share of steps to a random item")] = DEFAULTS.noise,
    skew: Annotated[float, typer.Option(help="exponent of the popularity's power law")] = DEFAULTS.skew,
    births: Annotated[
        float, typer.Option(help="items that appear per hour of event time; as many disappear")
    ] = DEFAULTS.births,
    bots: Annotated[float, typer.Option(help="share of events made by bots")] = DEFAULTS.bots,
    late: Annotated[float, typer.Option(help="share of events that arrive late")] = DEFAULTS.late,
    late_s: Annotated[float, typer.Option(help="mean delay of the late events")] = DEFAULTS.late_s,
    duplicates: Annotated[
        float, typer.Option(help="share of events that arrive twice")
    ] = DEFAULTS.duplicates,
    start_ms: Annotated[
        int, typer.Option(help="event time of the first event, epoch ms")
    ] = DEFAULTS.start_ms,
    seed: Annotated[int, typer.Option(min=0, help="seed of the random numbers")] = DEFAULTS.seed,
    as_json: Json = False,
) -> None:
    """Write a log of Markov shoppers whose best lists, and so the best possible Recall@20, are known.

    Equal options give an equal file. Memory does not grow with the log.
    """
    given = {name: value for name, value in locals().items() if name not in ("output", "as_json")}
    check_file("--output", output)
    stream = ShopperStream(ShopperSettings(**given))
    with progress_bar("writing") as bar:
        truth = write_log(stream, output, lambda done, total: bar(done, total, "events"))
    known = truth.as_dict()
    if as_json:
        print(json.dumps({"file": str(output), "bytes": output.stat().st_size, **known}))
        return
    out.print(
        f"{output}: {events:,} events, {output.stat().st_size:,} bytes; {truth.sessions:,} sessions, "
        f"{truth.bot_sessions:,} of bots, {truth.items:,} items, {truth.late:,} events late, "
        f"{truth.duplicates:,} twice\nthe best lists have a Recall@20 of {truth.best_recall:.4f} "
        f"({known['best_recall_at_20_of_this_log']:.4f} in this log, over shoppers' next events)",
        highlight=False,
    )
