"""What the brokers of a target need: network, cores, disks, replicas, and the group's coordinator.

Adds lines to a sheet that has partitions and workers already. Knows topics only by their record bytes.
"""

from __future__ import annotations

import math

from deploy.benchmarks.capacity.sheet import Sheet, Target

DAY_S = 86_400
COORDINATOR_COMMITS_PER_S = 1_000


def add_brokers(sheet: Sheet, target: Target, commit_interval_ms: float) -> None:
    """Add the lines, from partitions and workers on."""
    sheet.group, t, add = "Brokers", target, sheet.add
    rate, copies = t.events_per_s, t.replication
    both = rate * (sheet["wire.event_bytes"] + sheet["wire.list_bytes"]) / 1e9
    wire = "target, wire.event_bytes, wire.list_bytes"
    add(
        f"network in | GB/s of all | target × (event + list) × {copies} copies | {wire}",
        both * copies,
    )
    add(
        f"network out | GB/s of all | target × (event + list) × ({copies - 1} copies + 1 reader) | {wire}",
        both * copies,
    )
    # Measured are an event's way out and a list's way in, on one broker without copies.
    add(
        "broker busy cores | cores; assumed: in proportion to bytes | target × core-µs / 10⁶ × "
        "(network in + out) / (event out + list in) | broker.core_us_per_event, network in, network "
        "out, assumed.cores_per_byte",
        rate
        * sheet["broker.core_us_per_event"]
        / 1e6
        * sheet["assumed.cores_per_byte"]
        * (sheet["network in"] + sheet["network out"])
        / both,
    )
    for name, days in (("event", t.events_retention_days), ("list", t.lists_retention_days)):
        add(
            f"disk for {name}s | TB | target × {name} × 86,400 s × {days:g} days × {copies} copies | "
            f"target, wire.{name}_bytes",
            rate * sheet[f"wire.{name}_bytes"] * DAY_S * days * copies / 1e12,
        )
    add(
        f"replicas | of partitions | 2 topics × partitions × {copies} | partitions",
        2 * sheet["partitions"] * copies,
    )
    use = sheet["assumed.broker_utilisation"]
    network = sheet["assumed.broker_network_bytes_per_s"] / 1e9 * use
    disk = (sheet["disk for events"] + sheet["disk for lists"]) * 1e12 / sheet["assumed.broker_disk_bytes"]
    needs = {
        "cores": sheet["broker busy cores"] / (sheet["assumed.broker_cores"] * use),
        "network_bytes_per_s": max(sheet["network in"], sheet["network out"]) / network,
        "disk_bytes": disk,
        "replicas": sheet["replicas"] / sheet["assumed.broker_replicas"],
    }
    for name, count in needs.items():
        of = name.split("_")[0]
        add(f"brokers for {of} | machines | need / what one has | assumed.broker_{name}", math.ceil(count))
    most = max(needs, key=needs.__getitem__)
    add(
        f"brokers | machines, for {most.split('_')[0]} | the most of the four, in {t.racks} racks | "
        "brokers for cores, brokers for network, brokers for disk, brokers for replicas",
        math.ceil(needs[most] / t.racks) * t.racks,
    )
    per_s = 1000 / max(commit_interval_ms, 1)
    add(
        f"commits | requests/s to one coordinator | workers × {per_s:g}/s: all of a group commit to "
        "one broker | workers",
        sheet["workers"] * per_s,
    )
    add(
        "committed offsets | MB/s into one partition | partitions × commits/s of each × a record | "
        "partitions, assumed.offset_record_bytes",
        sheet["partitions"] * per_s * sheet["assumed.offset_record_bytes"] / 1e6,
    )
    if sheet["commits"] > COORDINATOR_COMMITS_PER_S:
        sheet.warnings.append(
            f"{sheet['commits']:,.0f} commits/s, {sheet['partitions'] * per_s:,.0f} offsets/s, go to one "
            "coordinator: raise commit_interval_ms; the price are lists published again after a loss"
        )
