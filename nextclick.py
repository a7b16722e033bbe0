"""The command line: which commands exist, each with an example, and how an error is printed.

Nothing imports this module. `nextclick X` is the function X of replay/commands/X.py.
Tested by tests/docs/test_commands.py and tests/unit/replay/commands/test_lazy_commands.py.
"""

from __future__ import annotations

import os
import sys
import tomllib
import traceback
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

try:
    from model.errors import NextclickError
    from replay.commands.lazy_commands import Listed, lazy_group
    from replay.console import log
    from replay.outside_errors import explained
    from replay.standard_streams import close_output, drop_output, open_streams
    from stream.logs import log_failure, tells_json
    from stream.settings import PREFIX
except ImportError as problem:
    if (problem.name or "").split(".")[0] not in ("model", "stream", "replay"):
        raise
    print(
        f"error: {problem}: another package of that name is found before nextclick's\n"
        "The command consists of the packages model, stream and replay and cannot run with others.\n"
        "do: install it into an environment of its own, by pipx or `uv tool`, and start it by its name: "
        "`python -m` takes a folder of that name here for the package",
        file=sys.stderr,
    )
    sys.exit(2)

# In the order in which `nextclick --help` lists them. The summaries are the first lines of the commands' own
# helps, said here too so that the list imports no command.
COMMANDS = {
    "demo": Listed(
        "Train on a log, serve it by a real worker and show the lists, without Kafka: the broker is "
        "in-process.",
        "nextclick demo --file clicks.csv --seconds 20",
    ),
    "up": Listed(
        "From a topic, or a file, to lists on the page: mapping, topics, first model, worker.",
        "nextclick up --bootstrap-servers localhost:9092 --topic shop.clicks",
    ),
    "replay": Listed(
        "Replay event files, or a topic, into Kafka in event-time order, keyed by session.",
        "nextclick replay clicks.csv.xz --speed 60",
    ),
    "worker": Listed(
        "Run a stream worker: one step per event, top-20 lists out. Ends by SIGTERM or Ctrl-C.",
        "nextclick worker --registry ./registry --state-dir ./state",
    ),
    "watch": Listed(
        "Subscribe to the recommendations and print them as they arrive.",
        "nextclick watch --json --from-start --limit 100",
    ),
    "train": Listed(
        "Train a network on a log, evaluate it on the newest part, save it as a version.",
        "nextclick train clicks.csv.xz --epochs 5 --test-fraction 0.1",
    ),
    "evaluate": Listed(
        "Next-item Recall@20 and MRR@20 of a version over all steps of a log's sessions.",
        "nextclick evaluate clicks-test.csv --model 20260101T120000000Z-1a2b3c4d",
    ),
    "recommend": Listed(
        "Recommend the next items of a session of chosen items, by any saved version.",
        'nextclick recommend --items "white mug" "lunch bag" --k 5',
    ),
    "compare": Listed(
        "Train and evaluate several models on the same log: one table, with intervals and paired "
        "differences.",
        "nextclick compare clicks.csv.xz --models 'gru4rec gru4rec:loss=bpr-max v-sknn pop'",
    ),
    "tune": Listed(
        "Search a network's settings on the newest part of the training data; the test part only confirms.",
        "nextclick tune clicks.csv.xz --trials 30 --output params.toml",
    ),
    "reproduce": Listed(
        "Make a published study's tables again: published figures beside ours, with intervals, times "
        "and losses.",
        "nextclick reproduce user-gru --log ratings.dat",
    ),
    "cadence": Listed(
        "Replay a log at several cadences of retraining: Recall@20 of each, beside baselines that learn "
        "live.",
        "nextclick cadence clicks.csv.xz --every never,24h,6h,1h --plot cadence.png",
    ),
    "retrain": Listed(
        "Train the champion further on the newest events; if the gate accepts the result, promote it.",
        "nextclick retrain --every 6h",
    ),
    "models": Listed(
        "List the versions in the registry, oldest first, with their measured quality.",
        "nextclick models --registry ./registry",
    ),
    "promote": Listed(
        "Make a version the champion; running workers switch to it between two waves.",
        "nextclick promote 20260101T120000000Z-1a2b3c4d",
    ),
    "rollback": Listed(
        "Make the champion before this one the champion again; running workers switch to it.",
        "nextclick rollback --to 20260101T120000000Z-1a2b3c4d",
    ),
    "shadow": Listed(
        "Let a version step beside the champion without serving; /api/status and /metrics compare them.",
        "nextclick shadow 20260101T120000000Z-1a2b3c4d --share 0.2",
    ),
    "experiment": Listed(
        "Let a challenger serve a share of sessions beside the champion, and see which version sells.",
        "nextclick experiment start 20260101T120000000Z-1a2b3c4d --share 0.2",
    ),
    "outcomes": Listed(
        "Record what was clicked, put in the basket and bought of each list: each list once.",
        "nextclick outcomes --within-s 1800",
    ),
    "quality": Listed(
        "Add up the Recall@20 and MRR@20 of running workers, beside POP and last-hour POP on the same "
        "events.",
        "nextclick quality --worker http://127.0.0.1:6066 --plot quality.png",
    ),
    "data": Listed(
        "Look at a log before training on it.",
        "nextclick data report clicks.csv.xz --plot report.png",
    ),
    "synthetic": Listed(
        "Write a log of Markov shoppers whose best lists, and so the best possible Recall@20, are known.",
        "nextclick synthetic --events 10000000 --items 50000 --output clicks.csv",
    ),
    "certify": Listed(
        "Serve a log by a new worker, killed at random if wanted, and print the hash of all lists.",
        "nextclick certify clicks.csv.xz --kills 5 --compare lists.json",
    ),
    "verify": Listed(
        "Compare a topic with the certificate of a replay; print the first difference of each partition.",
        "nextclick verify sent.json",
    ),
    "archive": Listed(
        "Archive the event log as Parquet files, every event once. Ends by SIGTERM or Ctrl-C.",
        "nextclick archive --folder ./archive --until-end",
    ),
    "ingest": Listed(
        "Map topics of one's own into the events topic, each record once. Ends by SIGTERM or Ctrl-C.",
        "nextclick ingest --from shop.views=views.toml --from shop.orders=orders.toml",
    ),
    "topics": Listed(
        "Create the topics, or verify them.",
        "nextclick topics create --partitions 8",
    ),
    "doctor": Listed(
        "Check broker, topics, group, clock, model, stores, disk, limits and versions. Changes nothing.",
        "nextclick doctor --json",
    ),
    "dlq": Listed(
        "Show the events that were rejected, and send them again.",
        "nextclick dlq show --reason schema",
    ),
    "forget": Listed(
        "Remove what is kept of a person: session state, newest lists, records of an archive, exported "
        "outcomes.",
        "nextclick forget --user 4711 --archive ./archive --json",
    ),
    "session": Listed(
        "Look at one session.",
        "nextclick session show 4711",
    ),
    "token": Listed(
        "Make a token, signed with the first key of web_keys_file; asks no worker.",
        "nextclick token --role view --days 7",
    ),
    "items": Listed(
        "Say what is to be known of items: what is sold out, what it costs, where it belongs.",
        "nextclick items set sku-1042 --unavailable",
    ),
    "acls": Listed(
        "Show each role's rights in Kafka by the names of the settings; grant or verify them.",
        "nextclick acls --role worker --apply",
    ),
    "asyncapi": Listed(
        "Print the AsyncAPI 3 document of the topics: keys, headers, payloads, partitions, retention.",
        "nextclick asyncapi > asyncapi.yaml",
    ),
    "settings": Listed(
        "List every setting with its value and where it comes from.",
        "NEXTCLICK_WAVE_SIZE=32 nextclick settings",
    ),
    "bench": Listed(
        "Measure speed beside a limit or a peer of the same run.",
        "nextclick bench stream clicks.csv.xz --events 300000",
    ),
}


def installed_version() -> str:
    """The version that is installed, or that of the checkout."""
    try:
        return metadata.version("nextclick")
    except metadata.PackageNotFoundError:
        project = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]
        return str(project["version"])


def _say_version(asked: bool) -> None:
    if asked:
        print(f"nextclick {installed_version()}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="print the version")
    ] = False,
) -> None:
    del version


app = typer.Typer(
    name="nextclick",
    help="Fresh top-20 recommendations after every event: a recurrent network steps once per event.",
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    callback=_options,
)


def main() -> None:
    """Run the command line; an error that the user can solve is printed in three parts and exits with 2.

    Any other error keeps its traceback; with NEXTCLICK_LOG_LEVEL=DEBUG each error has one.
    """
    open_streams()
    try:
        try:
            app()
        except SystemExit:
            close_output()
            raise
    except Exception as error:
        told = explained(error)
        if told is None:
            raise
        if os.environ.get(f"{PREFIX}LOG_LEVEL", "").upper() == "DEBUG":
            traceback.print_exception(error)
        _print_error(told)
        drop_output()
        sys.exit(2)


def _print_error(error: NextclickError) -> None:
    if tells_json():
        log_failure(error)
        return
    log.print(f"[bold red]error:[/] {escape(error.what)}", highlight=False)
    log.print(f"{escape(error.meaning)}\n[bold]do:[/] {escape(error.remedy)}", highlight=False)


if __name__ == "__main__":
    main()
