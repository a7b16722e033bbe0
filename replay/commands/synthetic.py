"""`nextclick synthetic`: made-up shoppers as a file of any size, with the recall nobody can beat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from replay.commands.options import Json
from replay.console import out, progress_bar
from replay.synthetic.shopper_stream import ShopperStream
from replay.synthetic.shoppers import ShopperSettings
from replay.synthetic.write_file import write_log

DEFAULTS = ShopperSettings()


def synthetic(
    output: Annotated[Path, typer.Option(help="the file: .csv (as Globo's), .jsonl or .parquet")],
    events: Annotated[int, typer.Option(min=1, help="rows, repeats included")] = DEFAULTS.events,
    items: Annotated[int, typer.Option(min=10, help="in the catalogue at a time")] = DEFAULTS.items,
    rate: Annotated[float, typer.Option(help="events per second of event time")] = DEFAULTS.rate,
    mean_length: Annotated[float, typer.Option(help="events of a session")] = DEFAULTS.mean_length,
    mean_gap_s: Annotated[float, typer.Option(help="between a session's events")] = DEFAULTS.mean_gap_s,
    noise: Annotated[float, typer.Option(help="share of steps to any item")] = DEFAULTS.noise,
    skew: Annotated[float, typer.Option(help="exponent of the popularity's power law")] = DEFAULTS.skew,
    births: Annotated[
        float, typer.Option(help="items born an hour of event time; as many die")
    ] = DEFAULTS.births,
    bots: Annotated[float, typer.Option(help="share of events that bots make")] = DEFAULTS.bots,
    late: Annotated[float, typer.Option(help="share of events that come late")] = DEFAULTS.late,
    late_s: Annotated[float, typer.Option(help="mean delay of these")] = DEFAULTS.late_s,
    duplicates: Annotated[float, typer.Option(help="share of events that come twice")] = DEFAULTS.duplicates,
    start_ms: Annotated[int, typer.Option(help="event time of the first, epoch ms")] = DEFAULTS.start_ms,
    seed: Annotated[int, typer.Option(min=0, help="of all chance")] = DEFAULTS.seed,
    as_json: Json = False,
) -> None:
    """Write a log of Markov shoppers whose best lists, and so the best possible Recall@20, are known.

    The same options give the same file, in constant memory.
    """
    given = {name: value for name, value in locals().items() if name not in ("output", "as_json")}
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
