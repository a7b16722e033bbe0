"""Starts the Quix peer in a separate environment, and measures its lists/s.

Quix Streams pins older versions of confluent-kafka, pydantic and pydantic-settings than the project.
Its virtual environment is made once, on demand, outside the checkout, and named after its packages.
torch and other packages come from the project's environment, by a path file that is read after the
peer's packages; nothing is installed there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from deploy.benchmarks.measure.process import LOOK_EVERY_S, ROOT, Observation, TopicEnd
from model.errors import NextclickError
from stream.settings import Settings

QUIX = "quixstreams==3.28.1"
PROGRAM = ROOT / "deploy" / "benchmarks" / "quix" / "application.py"
# Longer than any pause of a healthy peer; what waits for a full window never comes.
STILL_S = 10.0
START_TIMEOUT_S = 120.0


def peer_python() -> Path:
    """The interpreter of the peer's environment, which is made when it is not there.

    Raises NextclickError when Quix cannot be installed.
    """
    shared = sysconfig.get_paths()["purelib"]
    digest = hashlib.sha256("\n".join([QUIX, shared, sys.version]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nextclick"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"peer-{digest}"
    python = folder / "bin" / "python"
    with (cache / f"peer-{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / ".complete").exists():
            return python
        print(f"making the peer's environment in {folder} (once)", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", QUIX]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise NextclickError(
                f"pip could not install {QUIX}: {done.stdout[-800:]}",
                "There is no peer to compare with.",
                "Look at pip's words, or leave --peer out.",
            )
        # Behind the peer's own packages on its path: theirs win, torch is found here.
        own = next(folder.glob("lib/python*/site-packages"))
        (own / "nextclick-shared.pth").write_text(f"{shared}\n")
        (folder / ".complete").touch()
    return python


def run_quix(
    settings: Settings,
    folder: Path,
    *,
    events: int,
    wave: int,
    torch_threads: int | None,
    broker_pid: int | None,
) -> Observation:
    """Serve the first `events` of the topic with the peer; → what was observed.

    Raises NextclickError when it ends before.
    """
    name = f"{settings.group_id}-quix-{wave}"
    topic = f"{name}-recommendations"
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    for future in admin.create_topics([NewTopic(topic, settings.partitions, 1)]).values():
        future.result()
    command = [
        *(str(peer_python()), str(PROGRAM), "--bootstrap-servers", settings.bootstrap_servers),
        *("--events-topic", settings.events_topic, "--recommendations-topic", topic),
        *("--group", name, "--registry", str(settings.registry_dir), "--state-dir", str(folder / name)),
        *("--recent-items", str(settings.recent_items), "--wave", str(wave)),
    ]
    if torch_threads:
        command += ["--torch-threads", str(torch_threads)]
    log_path = folder / f"{name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    end = TopicEnd(settings, topic)
    try:
        observation = Observation(process.pid, broker_pid)
        started_s, moved_s, lists = time.monotonic(), time.monotonic(), 0
        while lists < events:
            records = end.records()
            now_s = time.monotonic()
            if records > lists:
                lists, moved_s = records, now_s
            if process.poll() is not None or (not lists and now_s - started_s > START_TIMEOUT_S):
                raise NextclickError(
                    f"the peer made {lists} lists and ended with {process.poll()}",
                    "Its last words:\n" + "\n".join(log_path.read_text(errors="replace").splitlines()[-15:]),
                    "Look at them, or leave --peer out.",
                )
            observation.add(records)
            if lists and now_s - moved_s > STILL_S:
                break
            time.sleep(LOOK_EVERY_S)
        return observation
    finally:
        end.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
