"""Store and recovery: what the sessions cost, and how a partition came back."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import CHOSEN, GREEN, RED, YELLOW, board, lines, number, rate, total


def _by_partition(series: str) -> dict[str, str]:
    return {"partition {{partition}}": f"sum by (partition) ({series}{{{CHOSEN}}})"}


def store() -> Dashboard:
    """RocksDB by partition, sessions that come and go, event time, recovery."""
    return board(
        "store",
        "Store and recovery",
        "RocksDB of every partition, its sessions and its event time; how long openings took.",
        {
            "Now": [
                number(
                    "Store",
                    "Tables and memtables of all partitions. By half in six hours, with no more sessions: "
                    "NextclickStoreGrowing.",
                    total("nextclick:store_bytes"),
                    "bytes",
                ),
                number(
                    "Open sessions",
                    "Comes to rest where as many expire as begin.",
                    total("nextclick:open_sessions"),
                    "locale",
                    decimals=0,
                ),
                number(
                    "Bytes a session",
                    "Of the store. A kilobyte or two is normal; the hidden state and 50 recent items make "
                    "most.",
                    f"{total('nextclick:store_bytes')} / ({total('nextclick:open_sessions')} > 0)",
                    "bytes",
                ),
                number(
                    "Partitions in recovery",
                    "Whose histories are read again from the log. Nothing of them is stepped until it is "
                    "done.",
                    total("nextclick_recovering_partitions"),
                    "short",
                    steps=((None, GREEN), (1, YELLOW)),
                    now=True,
                    decimals=0,
                ),
                number(
                    "Longest opening",
                    "Of a partition on its worker, since that started or took it over. A local store takes "
                    "less "
                    "than a second; longer, and its histories came from the log.",
                    f"max(nextclick_recovery_duration_seconds{{{CHOSEN}}})",
                    "s",
                    steps=((None, GREEN), (30, YELLOW), (300, RED)),
                ),
                number(
                    "Writes stopped",
                    "Stores that take no write now, since compaction is behind. Events stand still "
                    "meanwhile.",
                    total("nextclick_store_writes_stopped"),
                    "short",
                    steps=((None, GREEN), (1, RED)),
                    now=True,
                    decimals=0,
                ),
            ],
            "Store": [
                lines(
                    "Store by partition",
                    "Even partitions are of one size; one that is not has the busy sessions.",
                    _by_partition("nextclick_store_bytes"),
                    "bytes",
                    stacked=True,
                ),
                lines(
                    "In memory",
                    "Memtables by partition (write_buffer_bytes bounds each), and the cache that all of "
                    "them share.",
                    {
                        "memtables of partition {{partition}}": total(
                            "nextclick_store_memtable_bytes", "partition"
                        ),
                        "block cache {{instance}}": f"nextclick_block_cache_bytes{{{CHOSEN}}}",
                    },
                    "bytes",
                    stacked=True,
                ),
                lines(
                    "Keys by partition",
                    "Sessions, index entries and buckets, as RocksDB estimates. Far above twice the "
                    "sessions: "
                    "deleted ones wait for a compaction.",
                    _by_partition("nextclick_store_keys"),
                    "short",
                ),
                lines(
                    "To be compacted",
                    "Bytes that RocksDB has to rewrite. Growth without end: the disk is too slow.",
                    _by_partition("nextclick_store_pending_compaction_bytes"),
                    "bytes",
                ),
                lines(
                    "Tables at level 0",
                    "Not yet compacted. At 20 RocksDB slows writes down, at 36 it stops them.",
                    _by_partition("nextclick_store_level0_files"),
                    "short",
                    limits=((None, "transparent"), (20, YELLOW), (36, RED)),
                ),
                lines(
                    "Compactions under way",
                    "Two threads share them.",
                    _by_partition("nextclick_store_running_compactions"),
                    "short",
                ),
            ],
            "Sessions and event time": [
                lines(
                    "Open sessions by partition",
                    "Of a quiet partition they do not fall unless idle_expiry_s is set.",
                    _by_partition("nextclick_open_sessions"),
                    "short",
                    stacked=True,
                ),
                lines(
                    "Sessions that end",
                    "Expired: left behind by the watermark. Begun anew: came back after the session gap.",
                    {
                        "expired": rate("nextclick_expired_sessions_total"),
                        "begun anew": rate("nextclick_session_resets_total"),
                    },
                    "cps",
                ),
                lines(
                    "Event time behind the wall",
                    "By partition. Flat while events come; a slope of 1 is a partition without events, or "
                    "all late.",
                    {
                        "partition {{partition}}": "time() - max by (partition) "
                        f"(nextclick_watermark_seconds{{{CHOSEN}}})"
                    },
                    "s",
                ),
            ],
            "Recovery": [
                lines(
                    "Progress",
                    "Of histories that are read again, by partition; 1 when done.",
                    _by_partition("nextclick_recovery_progress_ratio"),
                    "percentunit",
                    top=1,
                ),
                lines(
                    "Records read again",
                    "At the newest opening. 0: the local store was whole.",
                    _by_partition("nextclick_recovery_records"),
                    "short",
                ),
                lines(
                    "Rebuilt states",
                    "Re-run from their recent items after a swap or a recovery. Inexact: longer than their "
                    "history.",
                    {
                        "rebuilt": rate("nextclick_rebuilt_sessions_total"),
                        "of these inexact": rate("nextclick_rebuilt_inexact_sessions_total"),
                    },
                    "cps",
                ),
            ],
        },
    )
