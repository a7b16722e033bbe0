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
    from replay.commands.lazy_commands import lazy_group
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

# In the order in which `nextclick --help` lists them.
EXAMPLES = {
    "demo": "nextclick demo --file clicks.csv --seconds 20",
    "up": "nextclick up --bootstrap-servers localhost:9092 --topic shop.clicks",
    "replay": "nextclick replay clicks.csv.xz --speed 60",
    "worker": "nextclick worker --registry ./registry --state-dir ./state",
    "watch": "nextclick watch --json --from-start --limit 100",
    "train": "nextclick train clicks.csv.xz --epochs 5 --test-fraction 0.1",
    "evaluate": "nextclick evaluate clicks-test.csv --model 20260101T120000000Z-1a2b3c4d",
    "recommend": 'nextclick recommend --items "white mug" "lunch bag" --k 5',
    "compare": "nextclick compare clicks.csv.xz --models 'gru4rec gru4rec:loss=bpr-max v-sknn pop'",
    "tune": "nextclick tune clicks.csv.xz --trials 30 --output params.toml",
    "reproduce": "nextclick reproduce user-gru --log ratings.dat",
    "cadence": "nextclick cadence clicks.csv.xz --every never,24h,6h,1h --plot cadence.png",
    "retrain": "nextclick retrain --every 6h",
    "models": "nextclick models --registry ./registry",
    "promote": "nextclick promote 20260101T120000000Z-1a2b3c4d",
    "rollback": "nextclick rollback --to 20260101T120000000Z-1a2b3c4d",
    "shadow": "nextclick shadow 20260101T120000000Z-1a2b3c4d --share 0.2",
    "experiment": "nextclick experiment start 20260101T120000000Z-1a2b3c4d --share 0.2",
    "outcomes": "nextclick outcomes --within-s 1800",
    "quality": "nextclick quality --worker http://127.0.0.1:6066 --plot quality.png",
    "data": "nextclick data report clicks.csv.xz --plot report.png",
    "synthetic": "nextclick synthetic --events 10000000 --items 50000 --output clicks.csv",
    "certify": "nextclick certify clicks.csv.xz --kills 5 --compare lists.json",
    "verify": "nextclick verify sent.json",
    "archive": "nextclick archive --folder ./archive --until-end",
    "ingest": "nextclick ingest --from shop.views=views.toml --from shop.orders=orders.toml",
    "topics": "nextclick topics create --partitions 8",
    "doctor": "nextclick doctor --json",
    "dlq": "nextclick dlq show --reason schema",
    "forget": "nextclick forget --user 4711 --archive ./archive --json",
    "session": "nextclick session show 4711",
    "token": "nextclick token --role view --days 7",
    "items": "nextclick items set sku-1042 --unavailable",
    "acls": "nextclick acls --role worker --apply",
    "asyncapi": "nextclick asyncapi > asyncapi.yaml",
    "settings": "NEXTCLICK_WAVE_SIZE=32 nextclick settings",
    "bench": "nextclick bench stream clicks.csv.xz --events 300000",
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
    cls=lazy_group(EXAMPLES),
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
