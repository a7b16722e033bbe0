"""Seconds from a log that nobody has seen to lists: the README's commands for one's own, as typed.

A CSV (semicolons, German names, local times) and a topic of odd JSON are made, each beside a new broker.
Then the shell runs what the README's section says, in an empty folder, with nobody to answer a question:
the three commands of a file up to the list that they print (installing is none of them), and `nextclick up`
for the file and for the topic, up to the first list that the page's API shows. `core_s` are the processor
seconds that it took: on a machine with other work the seconds of the wall are more than they need be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.benchmarks.load.odd_log import odd_events, send_odd_topic, write_odd_csv
from deploy.benchmarks.measure.process import ROOT, broker, machine, show
from deploy.benchmarks.measure.run_program import run_program
from model.errors import NextclickError

SECTION = "## Your own log, your own topic"
# What the README names.
FILE, TOPIC, BROKERS = "clicks.csv", "shop.clicks", "localhost:9092"
PORT = 9092
GOAL_S = 120.0
LOOK_EVERY_S = 0.1
PAGE = re.compile(r"^the page: (\S+?);", re.MULTILINE)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench newcomer",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench newcomer --events 20000",
    )
    parser.add_argument("--events", type=int, default=20_000, help="of the file, and of the topic")
    parser.add_argument("--timeout-s", type=float, default=900.0, help="longest wait for a list")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def commands_of_readme() -> tuple[list[str], str, str]:
    """The three commands of a file, and `nextclick up` for a topic and for a file, as the README has them.

    Raises NextclickError when it has others.
    """
    section = (ROOT / "README.md").read_text(encoding="utf-8").split(SECTION)[-1].split("\n## ")[0]
    blocks = [
        [line for line in block.splitlines() if line.startswith("nextclick ")]
        for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    ]
    up_file = re.search(rf"`(nextclick up {re.escape(FILE)})`", section)
    if len(blocks) != 2 or len(blocks[0]) != 3 or not up_file or TOPIC not in blocks[1][0]:
        raise NextclickError(
            f"the README's section {SECTION!r} has other commands than this benchmark runs",
            "What it would measure is not what a newcomer types.",
            "Bring deploy/benchmarks/newcomer.py in line with it.",
        )
    return blocks[0], blocks[1][0], up_file[1]


class Shell:
    """A newcomer's shell in an empty folder, where `nextclick` is this checkout's."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self._address = address
        programs = folder.parent / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "nextclick").write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(ROOT / "nextclick.py"))} "$@"\n'
        )
        (programs / "nextclick").chmod(0o755)
        own = {name: value for name, value in os.environ.items() if not name.startswith("NEXTCLICK_")}
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**own, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        if address != BROKERS:
            # The README's port is taken: a file's command names no brokers.
            self._environment["NEXTCLICK_BOOTSTRAP_SERVERS"] = address

    def start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """Begin a command, with its own process group; what it prints goes into `log`."""
        typed = command.replace(BROKERS, self._address)
        with log.open("wb") as printed:
            return subprocess.Popen(
                ["bash", "-c", typed],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def core_s() -> float:
    """Processor seconds, user and system, of all that has ended here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_to_its_end(shell: Shell, command: str, timeout_s: float) -> float:
    """Seconds that a command takes. Raises NextclickError when it fails."""
    log = shell.folder.parent / "command.log"
    begun_s = time.monotonic()
    process = shell.start(command, log)
    try:
        code = process.wait(timeout_s)
    finally:
        end(process)
    if code:
        raise failed(command, f"ended with {code}", log.read_text(errors="replace"))
    return time.monotonic() - begun_s


def lists_on_the_page(shell: Shell, command: str, timeout_s: float) -> dict[str, Any]:
    """Seconds from a command to the first list that its page shows, and that list."""
    log = shell.folder.parent / "up.log"
    begun_s = time.monotonic()
    process = shell.start(command, log)
    started_s = None
    try:
        while time.monotonic() - begun_s < timeout_s:
            if process.poll() is not None:
                raise failed(command, f"ended with {process.returncode}", log.read_text(errors="replace"))
            page = PAGE.search(log.read_text(errors="replace"))
            if page is not None:
                started_s = started_s or time.monotonic() - begun_s
                if shown := newest_lists(page[1]):
                    return {
                        "seconds": round(time.monotonic() - begun_s, 1),
                        "worker_started_s": round(started_s, 1),
                        "items": len(shown[0]["items"]),
                    }
            time.sleep(LOOK_EVERY_S)
        raise failed(command, f"showed no list in {timeout_s:.0f} s", log.read_text(errors="replace"))
    finally:
        end(process)


def newest_lists(address: str) -> list[dict[str, Any]]:
    """The lists that the page shows now; none while its server does not answer."""
    try:
        with urllib.request.urlopen(f"{address}/api/live", timeout=5) as answer:
            shown: list[dict[str, Any]] = json.load(answer)["newest"]
    except OSError:
        return []
    return [one for one in shown if one["items"]]


def failed(command: str, how: str, printed: str) -> NextclickError:
    """The error of a command that did not do what the README promises."""
    return NextclickError(
        f"{command}: {how}",
        f"A newcomer would stand here. It printed: …{printed[-1500:]}",
        "Mend the command, or the README.",
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def new_broker(folder: Path) -> Iterator[str]:
    """A broker without topics, at the README's address where that is free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        is_free = listener.connect_ex(("127.0.0.1", PORT)) != 0
    port = ("--port", str(PORT)) if is_free else ()
    with broker(None, folder, *port) as (started, _):
        yield BROKERS if is_free else started


def main() -> int:
    """Make the logs, type the commands, print the seconds; 1 where a goal is missed."""
    arguments = parse()
    of_file, up_topic, up_file = commands_of_readme()
    now = datetime.now(UTC)
    result: dict[str, Any] = {"machine": machine(), "events": arguments.events}
    with tempfile.TemporaryDirectory(prefix="nextclick-newcomer-") as temporary:
        for name, command in (("file", up_file), ("topic", up_topic)):
            place = Path(temporary) / name
            (place / "work").mkdir(parents=True)
            with new_broker(place) as address:
                shell = Shell(place / "work", address)
                if name == "topic":
                    send_odd_topic(address, TOPIC, odd_events(arguments.events, now))
                else:
                    write_odd_csv(shell.folder / FILE, odd_events(arguments.events, now))
                    before_s = core_s()
                    times = [run_to_its_end(shell, one, arguments.timeout_s) for one in of_file]
                    result["three_commands"] = {
                        "seconds": round(sum(times), 1),
                        "each_s": [round(seconds, 1) for seconds in times],
                        "core_s": round(core_s() - before_s, 1),
                    }
                    # What the three commands have made is not there for a newcomer who types this one.
                    shell = Shell(place / "again", address)
                    shell.folder.mkdir()
                    (place / "work" / FILE).rename(shell.folder / FILE)
                before_s = core_s()
                result[f"up_{name}"] = lists_on_the_page(shell, command, arguments.timeout_s)
                result[f"up_{name}"]["core_s"] = round(core_s() - before_s, 1)
    show(result, arguments.json, json.dumps)
    missed = [name for name in ("three_commands", "up_file", "up_topic") if result[name]["seconds"] > GOAL_S]
    for name in missed:
        print(f"error: {name}: longer than {GOAL_S:.0f} s", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    run_program(main)
