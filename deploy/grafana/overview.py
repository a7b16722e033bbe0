"""Overview: is every event read, stepped and listed, and how late."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import (
    CHOSEN,
    GREEN,
    NO_LIST,
    ORANGE,
    RED,
    YELLOW,
    board,
    lines,
    number,
    quantiles,
    rate,
    rows,
    total,
)

OURS = 'job=~"nextclick-.+"'


def overview() -> Dashboard:
    """What to look at first when an alert wakes somebody."""
    return board(
        "overview",
        "Overview",
        "Rates, delays, lag and lists of all workers. Red on the first row: lists are late, wrong or absent.",
        {
            "Now": [
                number(
                    "Workers away",
                    "Of those in targets/worker.yml, that do not answer now. Above 0 for a minute "
                    "NextclickWorkerDown fires.",
                    'sum(up{job="nextclick-worker"} == bool 0)',
                    "short",
                    steps=((None, GREEN), (1, RED)),
                    now=True,
                    width=3,
                    empty="Prometheus has no worker in targets/worker.yml",
                ),
                number(
                    "Partitions not served",
                    "Of the topic, open on no worker: their events wait, and no lag counts them. Red: any.",
                    "nextclick:unserved_partitions",
                    "short",
                    steps=((None, GREEN), (1, RED)),
                    now=True,
                    width=3,
                    empty="No worker says how many there are",
                ),
                number(
                    "Versions, should be 1",
                    "Served by any worker now, or champion of any worker's registry. Two while a swap is "
                    "under way; for five minutes: NextclickVersionsDiffer. Dashboard Retraining says who "
                    "serves which.",
                    "count(count by (version) (nextclick_model_info or nextclick_registry_champion_info))",
                    "short",
                    steps=((None, RED), (1, GREEN), (2, RED)),
                    now=True,
                    width=3,
                    empty="No worker serves a version",
                ),
                number(
                    "Longest wait for a list",
                    "Of records that have come and have no durable list yet; grows while nothing is "
                    "published. Above 30 s NextclickListsWait fires.",
                    f"max(nextclick_list_wait_seconds{{{CHOSEN}}})",
                    "s",
                    steps=((None, GREEN), (5, YELLOW), (30, RED)),
                    now=True,
                    width=3,
                    empty="No worker answers",
                ),
                number(
                    "Alerts that fire",
                    "NextclickX has its row in deploy/docs/runbook.md.",
                    'count(ALERTS{alertname=~"Nextclick.+",alertstate="firing"}) or vector(0)',
                    "short",
                    steps=((None, GREEN), (1, RED)),
                    now=True,
                    width=3,
                ),
                number(
                    "Delay p99",
                    "Event read to durable list, of the oldest event in each wave. Milliseconds are "
                    "normal; above "
                    "1 s NextclickListDelay fires.",
                    quantiles("nextclick_list_delay_seconds")["p99"] + " >= 0",
                    "s",
                    steps=((None, GREEN), (0.2, YELLOW), (1, RED)),
                    now=True,
                    width=3,
                    empty="No list in the last minute",
                ),
                number(
                    "Lag",
                    "Records in Kafka that their worker has not read. Empty: no broker says how many. A few "
                    "hundred come and go; above 1,000 and growing NextclickLagGrowing fires.",
                    total("nextclick_lag_records"),
                    "short",
                    steps=((None, GREEN), (1_000, YELLOW), (100_000, RED)),
                    now=True,
                    width=3,
                    empty="No worker, or no broker, says how many",
                ),
                number(
                    "Age of the model",
                    "Event time between the newest event it has learned from and what is read now. Above a "
                    "day "
                    "NextclickModelStale fires.",
                    f"max(nextclick:model_age_seconds{{{CHOSEN}}})",
                    "s",
                    steps=((None, GREEN), (43_200, YELLOW), (86_400, RED)),
                    now=True,
                    width=3,
                    empty="No event read, or no model",
                ),
                rows(
                    "Alerts that fire, by name",
                    "Each has its row in deploy/docs/runbook.md.",
                    'ALERTS{alertname=~"Nextclick.+",alertstate="firing"}',
                    ["alertname", "severity", "instance", "partition", "reason"],
                    empty="No alert fires",
                ),
            ],
            "Events and lists": [
                lines(
                    "Events and lists",
                    "Read from Kafka, and lists acknowledged by it. They run together; lists stay below "
                    "where "
                    "sessions end, events cannot be read, or the ladder has stepped down.",
                    {
                        "events read": rate("nextclick_events_read_total"),
                        "lists": rate("nextclick_lists_total"),
                    },
                    "cps",
                ),
                lines(
                    "Outcomes",
                    "What became of each event, once durable. Duplicates come after a restart and pass.",
                    {"{{outcome}}": rate("nextclick_events_total", "outcome")},
                    "cps",
                    stacked=True,
                    colours={"stepped": GREEN, "unknown": ORANGE, "dead_lettered": RED},
                ),
                lines(
                    "Events by worker",
                    "A worker without a share has no partition, or stands still.",
                    {"{{instance}}": f"nextclick:events_read:rate5m{{{CHOSEN}}}"},
                    "cps",
                ),
            ],
            "Delay and lag": [
                lines(
                    "Read to durable list",
                    "Of the oldest event in each wave. The dashed line is where NextclickListDelay fires.",
                    quantiles("nextclick_list_delay_seconds"),
                    "s",
                    limits=((None, "transparent"), (1, RED)),
                    empty=NO_LIST,
                ),
                lines(
                    "Event time to list",
                    "By the wall, of the newest event in each wave: what a shopper waits, Kafka and lag "
                    "included. "
                    "Of a replay it is the age of its log, capped at a day.",
                    quantiles("nextclick_event_to_list_seconds"),
                    "s",
                    empty=NO_LIST,
                ),
                lines(
                    "Queue and step (p99)",
                    "Where the time goes. Queue: waiting for a step thread. Step: the model and the "
                    "states. The rest "
                    "is Kafka's acknowledgement and RocksDB's write.",
                    {
                        "queued": quantiles("nextclick_queued_duration_seconds")["p99"],
                        "step": quantiles("nextclick_step_duration_seconds")["p99"],
                    },
                    "s",
                    empty=NO_LIST,
                ),
                lines(
                    "Lag by partition",
                    "One that grows alone has a busy session, or its worker stands still.",
                    {"partition {{partition}}": total("nextclick_partition_lag_records", "partition")},
                    "short",
                ),
                lines(
                    "Time to catch up",
                    "Lag at the rate of the last five minutes. Grows without end: more comes than is "
                    "stepped. A line that breaks off while lag stays: nothing is stepped, it is infinite.",
                    {"{{instance}}": f"nextclick:lag_seconds{{{CHOSEN}}}"},
                    "s",
                ),
                lines(
                    "Events in a wave",
                    "Stepped together. Full waves (wave_size) mean a backlog.",
                    {
                        "mean": f"sum(rate(nextclick_wave_events_sum{{{CHOSEN}}}[$__rate_interval])) / "
                        f"(sum(rate(nextclick_wave_events_count{{{CHOSEN}}}[$__rate_interval])) > 0)",
                    },
                    "short",
                    empty=NO_LIST,
                ),
            ],
            "What is not as it should be": [
                lines(
                    "Dead letters by reason",
                    "Records that cannot be read as events; they are in events-dlq. More than 1 % of all "
                    "events: "
                    "NextclickDeadLetters.",
                    {"{{reason}}": rate("nextclick_rejected_events_total", "reason")},
                    "cps",
                    stacked=True,
                ),
                lines(
                    "Lists without a step",
                    "unknown_item: the model does not know the item, the last list is shown again; "
                    "empty_session: POP's "
                    "list; lag: POP's list, by the ladder.",
                    {"{{reason}}": rate("nextclick_fallback_lists_total", "reason")},
                    "cps",
                    stacked=True,
                ),
                lines(
                    "Ladder, late and unlisted events",
                    "Level 1: only a session's newest event gets a list; 2: that list is POP's. Late: "
                    "behind the "
                    "session's last event by more than the allowed lateness.",
                    {
                        "level": f"max(nextclick_ladder_level{{{CHOSEN}}})",
                        "late per second": rate("nextclick_late_events_total"),
                        "unlisted per second": rate("nextclick_unlisted_events_total"),
                    },
                    "short",
                ),
            ],
            "Processes": [
                lines(
                    "CPU",
                    "Cores in use. A worker that uses all it may have is at its limit.",
                    {"{{job}} {{instance}}": f"rate(process_cpu_seconds_total{{{OURS}}}[$__rate_interval])"},
                    "short",
                ),
                lines(
                    "Memory",
                    "Resident. A worker's comes to rest after a swap; growth without end is a leak.",
                    {"{{job}} {{instance}}": f"process_resident_memory_bytes{{{OURS}}}"},
                    "bytes",
                ),
                lines(
                    "File handles",
                    "Of those the process may have. At 80 % NextclickFileHandles fires.",
                    {"{{job}} {{instance}}": f"process_open_fds{{{OURS}}} / process_max_fds{{{OURS}}}"},
                    "percentunit",
                    top=1,
                    limits=((None, "transparent"), (0.8, RED)),
                ),
            ],
            "Sessions": [
                number(
                    "Unaccounted events",
                    "Read, less every outcome, less in flight. May flicker under load; what stays is a "
                    "defect "
                    "(NextclickIdentityBroken).",
                    f"max(min_over_time(abs(nextclick_identity_difference_events{{{CHOSEN}}})[5m:]))",
                    "short",
                    steps=((None, GREEN), (1, RED)),
                    width=6,
                    decimals=0,
                ),
                number(
                    "Open sessions",
                    "In the stores of the chosen workers.",
                    total("nextclick_open_sessions"),
                    "locale",
                    width=6,
                    decimals=0,
                ),
                number(
                    "Lists in the last hour",
                    "Published and acknowledged.",
                    f"sum(increase(nextclick_lists_total{{{CHOSEN}}}[1h]))",
                    "locale",
                    width=6,
                    decimals=0,
                ),
                number(
                    "Partitions read",
                    "Open on the chosen workers; all workers together have as many as the topic.",
                    total("nextclick_partitions"),
                    "short",
                    width=6,
                    now=True,
                    decimals=0,
                ),
            ],
        },
    )
