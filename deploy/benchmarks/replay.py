"""A replay's events/s beside Kafka's producer-perf-test in the same run; reading, memory and pace.

The log is synthetic, with Kaggle's columns, mostly of one size. Both producers send the same records
with acks=all, idempotent, lz4 and 5 ms of linger to topics of the same shape, in turns. Reading and
ordering run in their own processes, which isolates their peak memory, on the log in order and shuffled.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from deploy.benchmarks.measure.process import ROOT, broker, machine, settings_of_run, show
from model.errors import NextclickError
from replay.commands.replay import memory_bytes
from replay.datasets import mkechinov
from replay.datasets.event_files import EventFiles
from replay.sending.encoding import EncodedEvents, encode
from stream.kafka.topics import ensure_topics
from stream.settings import Settings

CHUNK_ROWS = 250_000
PAYLOADS = 50_000
LINGER_MS = 5
START_S = 1_569_888_000
BYTES_A_ROW = 140
SAMPLE_EVERY_S = 0.05
COMMON = """
import json, sys, time
from pathlib import Path
"""
READ = (
    COMMON
    + """
from replay.datasets.event_files import EventFiles
from replay.sending.event_time_order import in_event_time_order
files, rows, last = EventFiles([Path(sys.argv[1])]).open(), 0, 0
started = time.perf_counter()
for frame in in_event_time_order(files.read, memory_bytes=int(sys.argv[2]), folder=Path(sys.argv[3])):
    assert frame["event_time_ms"].iloc[0] >= last
    rows, last = rows + len(frame), int(frame["event_time_ms"].iloc[-1])
seconds = time.perf_counter() - started
print(json.dumps({"events": rows, "events_per_s": rows / seconds}))
"""
)
REPLAY = (
    COMMON
    + """
from replay.datasets.event_files import EventFiles
from replay.sending.event_time_order import DEFAULT_MEMORY_BYTES
from replay.sending.replay import SendOptions
from replay.sending.replay_files import ReplayStorage, replay_files
from replay.sending.timeline import ReplayRange
from stream.settings import load_settings
options = json.loads(sys.argv[2])
checkpoint = options.get("checkpoint")
storage = ReplayStorage(
    options.get("memory_bytes", DEFAULT_MEMORY_BYTES), checkpoint=Path(checkpoint) if checkpoint else None
)
part = ReplayRange(until_ms=options.get("until_ms"), limit=options.get("limit"))
started = time.perf_counter()
report = replay_files(
    load_settings(),
    EventFiles([Path(sys.argv[1])]),
    SendOptions(speed=options.get("speed")),
    part=part,
    storage=storage,
).as_dict()
print(json.dumps({**report, "whole_s": time.perf_counter() - started}))
"""
)


def write_log(path: Path, rows: int, *, shuffled: bool, seed: int = 0) -> None:
    """A log of Kaggle's shape, about 460 events a second and 5 a session; `shuffled`: in no order of time."""
    rng = np.random.default_rng(seed)
    names = np.array([f"brand{n}" for n in range(400)] + [""] * 100, dtype=object)
    categories = np.array([f"electronics.part{n}.kind{n % 7}" for n in range(90)] + [""] * 40, dtype=object)
    with path.open("wb") as file:
        file.write((",".join(mkechinov.COLUMNS) + "\n").encode())
        for start in range(0, rows, CHUNK_ROWS):
            count = min(CHUNK_ROWS, rows - start)
            place = rng.integers(0, rows, count) if shuffled else np.arange(start, start + count)
            moments = (START_S + place // 460).astype("datetime64[s]")
            texts = pd.Series(moments).dt.strftime("%Y-%m-%d %H:%M:%S UTC")
            session = place // 30_000 * 6_000 + rng.integers(0, 6_000, count)
            table = pa.table(
                {
                    "event_time": texts,
                    "event_type": np.array(["view"] * 17 + ["cart"] * 2 + ["purchase"], dtype=object)[
                        rng.integers(0, 20, count)
                    ],
                    "product_id": 1_000_000 + (rng.pareto(1.2, count) * 500).astype(np.int64) % 150_000,
                    "category_id": 2_053_013_555_000_000_000 + rng.integers(0, 130, count),
                    "category_code": categories[rng.integers(0, len(categories), count)],
                    "brand": names[rng.integers(0, len(names), count)],
                    "price": rng.integers(100, 200_000, count) / 100,
                    "user_id": 500_000_000 + session,
                    "user_session": [
                        f"{one:08x}-5f6e-4ac4-b0c1-{one * 7919:012x}" for one in session.tolist()
                    ],
                }
            )
            options = pa.csv.WriteOptions(include_header=False, quoting_style="none")
            pa.csv.write_csv(table, file, options)


def child(program: str, *arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a program in a process of its own; → what it printed last, and the most memory it took in bytes.

    Memory that it shares with a process of its own is counted once.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of(process.pid))
        time.sleep(SAMPLE_EVERY_S)
    printed = process.communicate()[0]
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, printed)
    result: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return {**result, "peak_bytes": peak}


def memory_of(process: int) -> int:
    """Resident bytes of a process and its children, what n of them share as an n-th each; 0 when gone."""
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
        threads = Path(f"/proc/{process}/task").glob("*/children")
        children = [int(one) for names in threads for one in names.read_text().split()]
    except OSError:
        return 0
    return (int(found[1]) << 10 if found else 0) + sum(map(memory_of, children))


def jars() -> Path:
    """The folder of Kafka's jars, which deploy/kafka.sh has fetched."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nextclick"
    found = sorted(folder for folder in cache.glob("kafka-*") if (folder / ".complete").exists())
    if not found:
        raise NextclickError(
            f"Kafka's jars are not in {cache}",
            "The peer of this benchmark is one of its programs.",
            "deploy/kafka.sh start fetches them.",
        )
    return found[-1]


def payloads(log: Path, path: Path) -> float:
    """The replay's first records, key and value, a line each; → their mean size in bytes."""
    frame = next(iter(EventFiles([log]).read())).head(PAYLOADS)
    lines = [value + key for key, value, _ in EncodedEvents.of(encode(frame)).records()]
    path.write_bytes(b"\n".join(lines))
    return sum(map(len, lines)) / len(lines)


def perf_test(address: str, topic: str, records: int, payload_file: Path) -> float:
    """Records/s that Kafka's producer-perf-test says of itself."""
    done = subprocess.run(
        [
            *("java", "-Xmx512m", "-cp", f"{jars()}/*", "org.apache.kafka.tools.ProducerPerformance"),
            *("--topic", topic, "--num-records", str(records), "--throughput", "-1"),
            *("--payload-file", str(payload_file), "--producer-props", f"bootstrap.servers={address}"),
            *("acks=all", "enable.idempotence=true", "compression.type=lz4", f"linger.ms={LINGER_MS}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    found = re.findall(r"^(\d+) records sent, ([\d.]+) records/sec", done.stdout, re.MULTILINE)
    return float(found[-1][1])


def beside_the_peer(address: str, folder: Path, log: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Rounds of both producers in turns, each into a fresh topic of its own."""
    size = payloads(log, folder / "payloads")
    rounds = []
    for number in range(arguments.rounds):
        names = {who: settings_of_run(f"replay-{number}-{who}", address, folder) for who in ("ours", "peer")}
        for settings in names.values():
            ensure_topics(settings)
        options = {"limit": arguments.events, "memory_bytes": arguments.memory}
        if arguments.checkpoint:
            options["checkpoint"] = str(folder / f"checkpoint-{number}.json")
        ours = child(REPLAY, str(log), json.dumps(options), environment=names["ours"].environment())
        peer = perf_test(address, names["peer"].events_topic, arguments.events, folder / "payloads")
        rounds.append({"ours": ours["events_per_s"], "peer": round(peer, 1), "sure": ours["sure"]})
        rounds[-1]["whole_s"] = round(ours["whole_s"], 2)
        rounds[-1]["peak_mb"] = round(ours["peak_bytes"] / 1e6)
    ratios = [one["ours"] / one["peer"] for one in rounds]
    return {
        "record_bytes": round(size, 1),
        "rounds": rounds,
        "replayed_events_per_s": round(statistics.median(one["ours"] for one in rounds)),
        "perf_test_events_per_s": round(statistics.median(one["peer"] for one in rounds)),
        "ratio": round(statistics.median(ratios), 3),
    }


def read_and_ordered(folder: Path, rows: int, memory: int) -> dict[str, Any]:
    """Events/s and peak memory without Kafka, of a log in order and of one that is not."""
    found = {}
    for name in ("in order", "shuffled"):
        path = folder / "read.csv"
        write_log(path, rows, shuffled=name == "shuffled")
        size = path.stat().st_size
        result = child(READ, str(path), str(memory), str(folder))
        path.unlink()
        found[name] = {
            "gigabytes": round(size / 1e9, 2),
            "events": result["events"],
            "events_per_s": round(result["events_per_s"]),
            "peak_mb": round(result["peak_bytes"] / 1e6),
        }
    return found


def pace(settings: Settings, log: Path, seconds: float, speed: float) -> dict[str, Any]:
    """How late events are produced at a speed; the log has about 460 events a second."""
    first = next(iter(EventFiles([log]).read()))["event_time_ms"].iloc[0]
    options = {"speed": speed, "until_ms": int(first + 1000 * speed * seconds)}
    result = child(REPLAY, str(log), json.dumps(options), environment=settings.environment())
    return {"speed": speed, "events": result["sent"], **result["pace_error_ms"]}


def main() -> int:
    """Make a log; produce beside the peer; read and order; keep a pace; print the figures."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench replay",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench replay --events 2000000 --gigabytes 1",
    )
    parser.add_argument("--events", type=int, default=2_000_000, help="sent in each round by each producer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of the log that is read and ordered")
    parser.add_argument("--memory", type=memory_bytes, default="32MB", help="what sorting may take")
    parser.add_argument("--checkpoint", action="store_true", help="replay with a checkpoint")
    parser.add_argument("--pace-seconds", type=float, default=10)
    parser.add_argument("--speed", type=float, default=60)
    parser.add_argument("--folder", type=Path, help="where the log and the runs lie, default: the system's")
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-", dir=arguments.folder) as temporary:
        folder = Path(temporary)
        if arguments.gigabytes:
            rows = int(arguments.gigabytes * 1e9 / BYTES_A_ROW)
            result["read_and_ordered"] = read_and_ordered(folder, rows, arguments.memory)
        log = folder / "log.csv"
        write_log(log, arguments.events, shuffled=False)
        with broker(arguments.bootstrap_servers, folder) as (address, _):
            if arguments.rounds:
                result["beside_the_peer"] = beside_the_peer(address, folder, log, arguments)
            if arguments.pace_seconds:
                settings = settings_of_run("replay-pace", address, folder)
                result["pace_error_ms"] = pace(settings, log, arguments.pace_seconds, arguments.speed)
    show(result, arguments.json, json.dumps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
