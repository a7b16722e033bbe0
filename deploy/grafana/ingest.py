"""Ingest: topics of one's own on their way into `events`; an ingester is no worker, so all are shown."""

from __future__ import annotations

from functools import partial

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import BLUE, GREEN, NO_INGESTER, RED, YELLOW, board
from deploy.grafana.panels import lines as any_lines
from deploy.grafana.panels import number as any_number

lines, number = partial(any_lines, empty=NO_INGESTER), partial(any_number, empty=NO_INGESTER)


def _rate(series: str, by: str = "") -> str:
    return f"sum{f' by ({by}) ' if by else ''}(rate({series}[$__rate_interval]))"


def ingest() -> Dashboard:
    """What comes from each topic, what becomes of it, what waits, and the transactions it goes through."""
    return board(
        "ingest",
        "Ingest",
        "Topics of one's own mapped into events: rates, what is left out, dead letters, lag, transactions.",
        {
            "Now": [
                number(
                    "Taken",
                    "Records a second from all topics, committed.",
                    _rate("nextclick_ingest_records_total"),
                    "cps",
                ),
                number(
                    "Not taken yet",
                    "Records of all topics that wait. Growing for long: NextclickIngestLagGrowing.",
                    "sum(nextclick_ingest_lag_records)",
                    "locale",
                    steps=((None, GREEN), (10_000, YELLOW)),
                    now=True,
                    decimals=0,
                ),
                number(
                    "Dead letters",
                    "Share of the records that could not be read. Above 1 %: NextclickIngestDeadLetters.",
                    f"{_rate('nextclick_ingest_rejected_records_total')} "
                    f"/ ({_rate('nextclick_ingest_records_total')} > 0)",
                    "percentunit",
                    steps=((None, GREEN), (0.001, YELLOW), (0.01, RED)),
                    empty="No record was taken in this time, or no ingester is scraped",
                ),
                number(
                    "Unaccounted",
                    "Records of which nothing became, or gone from the log before they were taken. Not 0: "
                    "NextclickIngestNotWhole.",
                    "sum(abs(nextclick_ingest_difference_records)) "
                    "+ sum(nextclick_ingest_lost_records_total)",
                    "locale",
                    steps=((None, GREEN), (1, RED)),
                    now=True,
                    decimals=0,
                ),
                number(
                    "Wait for a schema",
                    "Ingesters that wait for the schema registry; partitions of such records stand still.",
                    "sum(nextclick_ingest_waiting)",
                    "short",
                    steps=((None, GREEN), (1, YELLOW)),
                    now=True,
                    decimals=0,
                ),
                number(
                    "Ingesters",
                    "That answer now. They share the partitions; one that does not answer: "
                    "NextclickIngestDown.",
                    'sum(up{job="nextclick-ingest"})',
                    "short",
                    steps=((None, RED), (1, BLUE)),
                    now=True,
                    decimals=0,
                ),
            ],
            "Records": [
                lines(
                    "Taken by topic",
                    "Of each source, committed. One at 0 while others go on has no records, or its "
                    "partitions wait.",
                    {"{{topic}}": _rate("nextclick_ingest_source_records_total", "topic")},
                    "cps",
                    stacked=True,
                ),
                lines(
                    "Events made",
                    "Above the records given on where one holds several. Records without events for long: "
                    "NextclickIngestMakesNoEvents.",
                    {
                        "events": _rate("nextclick_ingest_events_total"),
                        "records given on": _rate("nextclick_ingest_given_on_records_total"),
                    },
                    "cps",
                ),
                lines(
                    "Left out by reason",
                    "Readable records that the mapping makes no event of, such as those of another kind.",
                    {"{{reason}}": f"{_rate('nextclick_ingest_left_out_records_total', 'reason')} > 0"},
                    "cps",
                    stacked=True,
                    empty="No record was left out in this time, or no ingester is scraped",
                ),
                lines(
                    "Dead letters by reason",
                    "Records that could not be read; they are on the dead-letter topic, whole.",
                    {"{{reason}}": f"{_rate('nextclick_ingest_rejected_records_total', 'reason')} > 0"},
                    "cps",
                    stacked=True,
                    empty="No record was dead-lettered in this time, or no ingester is scraped",
                ),
            ],
            "Lag and transactions": [
                lines(
                    "Lag by topic",
                    "Records not taken yet. Standing above 0 with none taken: NextclickIngestBehind.",
                    {"{{topic}}": "sum by (topic) (nextclick_ingest_source_lag_records)"},
                    "short",
                    stacked=True,
                ),
                lines(
                    "Lag by ingester",
                    "Of the partitions that it has now. Uneven for long: one is slow, or partitions are few.",
                    {"{{instance}}": "sum by (instance) (nextclick_ingest_lag_records)"},
                    "short",
                ),
                lines(
                    "Transactions",
                    "Batches by outcome. Aborted at a rebalance, and read again; all the time: the group "
                    "finds no rest. A refused one ends its process.",
                    {"{{outcome}}": _rate("nextclick_ingest_transactions_total", "outcome")},
                    "cps",
                    colours={"committed": GREEN, "aborted": YELLOW},
                ),
                lines(
                    "Starts in an hour",
                    "Of ingesters: a refused transaction, or another process of the same name, ends one.",
                    {
                        "{{instance}}": "sum by (instance) (changes(process_start_time_seconds"
                        '{job="nextclick-ingest"}[1h]))'
                    },
                    "short",
                ),
            ],
        },
    )
