"""Retraining: whether new versions come, what the gate said of the newest, and who serves it."""

from __future__ import annotations

from functools import partial

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import (
    CHOSEN,
    GREEN,
    NO_ARCHIVE,
    NO_RUN,
    RED,
    YELLOW,
    board,
    lines,
    names,
    number,
)

of_runs, archived = partial(lines, empty=NO_RUN), partial(lines, empty=NO_ARCHIVE)


def retraining() -> Dashboard:
    """Runs, the newest run, the versions in service, and the archive that runs can read."""
    return board(
        "retraining",
        "Retraining",
        "Runs and their outcomes, the newest run, versions in service, and the archive.",
        {
            "Now": [
                number(
                    "Since the last decision",
                    "Wall time since the newest run that the gate decided on, accepted or refused. Above a "
                    "day "
                    "NextclickRetrainFailing fires.",
                    "min(time() - (nextclick_retrain_last_success_timestamp_seconds > 0))",
                    "s",
                    steps=((None, GREEN), (43_200, YELLOW), (86_400, RED)),
                    empty="No retraining has come to a decision yet",
                ),
                number(
                    "Since the last new version",
                    "Wall time since the newest run whose version was accepted. Refusals in a row: read "
                    "the reports.",
                    "min(time() - (nextclick_retrain_last_accepted_timestamp_seconds > 0))",
                    "s",
                    empty="No retraining has made a new version yet",
                ),
                number(
                    "Newest run failed",
                    "1 when it came to no decision. Its report says why.",
                    "max(nextclick_retrain_last_failure_timestamp_seconds "
                    "> bool nextclick_retrain_last_success_timestamp_seconds)",
                    "short",
                    steps=((None, GREEN), (1, RED)),
                    now=True,
                    decimals=0,
                    empty=NO_RUN,
                ),
                number(
                    "Under way",
                    "1 while a run is. It takes a core from whoever shares the machine.",
                    "max(nextclick_retrain_running)",
                    "short",
                    now=True,
                    decimals=0,
                    empty="No retraining service is scraped",
                ),
                number(
                    "Age of the model",
                    "Event time since the newest event that the version in service has learned from.",
                    f"max(nextclick:model_age_seconds{{{CHOSEN}}})",
                    "s",
                    steps=((None, GREEN), (43_200, YELLOW), (86_400, RED)),
                    empty="No event read, or no model",
                ),
                number(
                    "Versions in service",
                    "More than one for a quarter of an hour: NextclickVersionsDiffer.",
                    "count(count by (version) (nextclick_model_info))",
                    "short",
                    steps=((None, GREEN), (2, YELLOW)),
                    now=True,
                    decimals=0,
                    empty="No worker serves a version",
                ),
            ],
            "Versions": [
                names(
                    "Serves",
                    "Version, and how many workers serve it.",
                    "count by (version) (nextclick_model_info)",
                    "{{version}}",
                ),
                number(
                    "Learned until",
                    "Event time of the newest event that it was trained on.",
                    f"max(nextclick_model_trained_until_seconds{{{CHOSEN}}}) * 1000",
                    "dateTimeAsIso",
                    width=8,
                ),
                number(
                    "Items",
                    "That the version in service can list.",
                    f"max(nextclick_model_items{{{CHOSEN}}})",
                    "locale",
                    width=8,
                    decimals=0,
                ),
                lines(
                    "Version by worker",
                    "1 while a worker serves a version. Steps side by side are a swap.",
                    {"{{version}} on {{instance}}": f"nextclick_model_info{{{CHOSEN}}}"},
                    "short",
                    width=12,
                ),
                lines(
                    "Swaps",
                    "Versions that workers changed over to, in the last hour.",
                    {"{{instance}}": f"increase(nextclick_model_swaps_total{{{CHOSEN}}}[1h])"},
                    "short",
                    width=12,
                ),
            ],
            "Runs": [
                of_runs(
                    "Runs by outcome",
                    "All runs whose report lies in the registry. Only refused ones for days: the gate sees "
                    "no progress.",
                    {"{{outcome}}": "max by (outcome) (nextclick_retrain_runs_total)"},
                    "short",
                    colours={"accepted": GREEN, "refused": YELLOW, "failed": RED},
                ),
                of_runs(
                    "Failures in a day",
                    "Runs that came to no decision: the log, the champion, the training or the brokers.",
                    {"failed": "sum(increase(nextclick_retrain_failures_total[1d]))"},
                    "short",
                ),
                of_runs(
                    "Time by step",
                    "Of the newest run.",
                    {"{{step}}": "max by (step) (nextclick_retrain_duration_seconds)"},
                    "s",
                    stacked=True,
                ),
                of_runs(
                    "Recall@20 at the gate",
                    "Of the newest run, on events held out: the challenger, and what it had to be held to.",
                    {"{{system}}": "max by (system) (nextclick_retrain_recall_at_20)"},
                    "percentunit",
                ),
                of_runs(
                    "MRR@20 at the gate",
                    "Of the same events.",
                    {"{{system}}": "max by (system) (nextclick_retrain_mrr_at_20)"},
                    "percentunit",
                ),
                of_runs(
                    "Events and items",
                    "What the newest run read and learned. No events: the log does not grow, or retention "
                    "took them.",
                    {
                        "events read": "max(nextclick_retrain_events)",
                        "could not be read": "max(nextclick_retrain_rejected_events)",
                        "left out by the mapping": "max(nextclick_retrain_left_out_events)",
                        "items": "max(nextclick_retrain_items)",
                        "of these new": "max(nextclick_retrain_new_items)",
                    },
                    "short",
                ),
                of_runs(
                    "Memory of a run",
                    "Most that the newest had; set the limit of its container above it.",
                    {"peak": "max(nextclick_retrain_peak_memory_bytes)"},
                    "bytes",
                    width=12,
                ),
                of_runs(
                    "Training speed",
                    "Next events a second. Halved: another process has its core.",
                    {"events": "max(nextclick_retrain_training_events_per_second)"},
                    "short",
                    width=12,
                ),
            ],
            "Archive": [
                archived(
                    "Missing from the archive",
                    "Records in no finished file. A saw's teeth, as files are finished; without teeth "
                    "NextclickArchiveBehind fires.",
                    {"{{instance}}": "nextclick_archive_lag_records"},
                    "short",
                ),
                archived(
                    "Archived",
                    "Records in finished files.",
                    {"{{instance}}": "rate(nextclick_archive_events_total[5m])"},
                    "cps",
                ),
                archived(
                    "Files in an hour",
                    "Many small ones: raise --rotate-s.",
                    {"{{instance}}": "increase(nextclick_archive_files_total[1h])"},
                    "short",
                ),
            ],
        },
        span="now-7d",
    )
