"""Quality: what the lists are worth, by version, with POP beside them on the same events."""

from __future__ import annotations

from functools import partial

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import CHOSEN, GREEN, NONE_SCORED, RED, YELLOW, board, lines, number, rate

scored_lines, scored_number = partial(lines, empty=NONE_SCORED), partial(number, empty=NONE_SCORED)

NEWEST = 'slice="all",window="newest",system="champion"'
SYSTEMS = {"champion": "champion", "pop": "POP", "window_pop": "POP of the last hour"}


def _mean(kind: str, sums: str, *, window: str = "1h", system: str) -> str:
    """Hits or reciprocal ranks of a window of event time by slice, divided by its events; workers added."""
    chosen = f'{CHOSEN},slice="{kind}",window="{window}",system="{system}"'
    return (
        f"sum by (value) (nextclick_quality_{sums}{{{chosen}}}) "
        f"/ (sum by (value) (nextclick_quality_events{{{chosen}}}) > 0)"
    )


def _by_version(sums: str) -> dict[str, str]:
    return {
        "{{value}}": _mean("version", sums, system="champion"),
        "POP beside {{value}}": _mean("version", sums, system="pop"),
    }


def _newest(sums: str) -> dict[str, str]:
    return {name: _mean("all", sums, window="newest", system=system) for system, name in SYSTEMS.items()}


def _by_source(sums: str) -> dict[str, str]:
    found, events = (
        f"sum by (source) (increase(nextclick_source_{name}_total{{{CHOSEN}}}[1h]))"
        for name in (sums, "events")
    )
    return {"{{source}}": f"{found} / ({events} > 0)"}


def _in_sample(sums: str) -> dict[str, str]:
    shown = {}
    for system, name in SYSTEMS.items():
        chosen = f'{CHOSEN},slice="in_sample",window="newest",system="{system}"'
        shown[name] = (
            f"sum(nextclick_quality_{sums}{{{chosen}}}) / (sum(nextclick_quality_events{{{chosen}}}) > 0)"
        )
    return shown


def quality() -> Dashboard:
    """Prequential: each list is scored by its session's next event, before anything is learned from that."""
    return board(
        "quality",
        "Quality",
        "Rolling Recall@20 and MRR@20 by version, with POP on the same events. Purple lines: a version "
        "began to "
        "serve.",
        {
            "Now": [
                scored_number(
                    "Recall@20, last hour",
                    "All workers, by the wall. How high it can be depends on the shop: compare it with "
                    "POP's.",
                    'nextclick:recall_at_20:1h{system="champion"}',
                    "percentunit",
                    decimals=1,
                ),
                scored_number(
                    "Recall@20 of POP",
                    "What the most popular items of the training would have had on the same events.",
                    'nextclick:recall_at_20:1h{system="pop"}',
                    "percentunit",
                    decimals=1,
                ),
                scored_number(
                    "Times POP",
                    "Below 1 NextclickRecallBelowPop fires: the model is worse than no model.",
                    'nextclick:recall_at_20:1h{system="champion"} '
                    '/ ignoring (system) (nextclick:recall_at_20:1h{system="pop"} > 0)',
                    "short",
                    steps=((None, RED), (1, YELLOW), (1.5, GREEN)),
                    decimals=2,
                ),
                scored_number(
                    "MRR@20, last hour",
                    "Mean of 1/rank of the next item, 0 where it is not listed.",
                    'nextclick:mrr_at_20:1h{system="champion"}',
                    "percentunit",
                    decimals=1,
                ),
                scored_number(
                    "Events scored, last hour",
                    "Events whose session had been shown a list. Below 1,000 no alert of quality fires.",
                    'nextclick:prequential_events:increase1h{system="champion"}',
                    "locale",
                    steps=((None, YELLOW), (1_000, GREEN)),
                    decimals=0,
                ),
                number(
                    "Rolled back",
                    "Promotions that this day's workers undid, since the former champion found more.",
                    f"sum(increase(nextclick_rollbacks_total{{{CHOSEN}}}[1d]))",
                    "short",
                    steps=((None, GREEN), (1, RED)),
                    decimals=0,
                ),
            ],
            "By version, last hour of event time": [
                scored_lines(
                    "Recall@20 by version",
                    "Share of events whose item was in the list before them. Each version with POP on its "
                    "own "
                    "events: a version is good by its distance from POP, not by its height.",
                    _by_version("hits"),
                    "percentunit",
                    width=12,
                ),
                scored_lines(
                    "MRR@20 by version",
                    "As beside, but by rank: falls before Recall@20 where lists are right and badly ordered.",
                    _by_version("reciprocal_ranks"),
                    "percentunit",
                    width=12,
                ),
            ],
            "Over the newest events (quality_window)": [
                scored_lines(
                    "Recall@20",
                    "Last-hour POP far above the champion: items age faster than the model is trained.",
                    _newest("hits"),
                    "percentunit",
                    width=12,
                ),
                scored_lines(
                    "MRR@20",
                    "Of the same events.",
                    _newest("reciprocal_ranks"),
                    "percentunit",
                    width=12,
                ),
                scored_lines(
                    "Recall@20 and its 95 % interval, by worker",
                    "Over the newest events of each. What moves within the interval is chance.",
                    {
                        "{{instance}}": f"nextclick_quality_recall_at_20{{{CHOSEN},{NEWEST}}}",
                        "{{instance}} low": f"nextclick_quality_recall_at_20_low{{{CHOSEN},{NEWEST}}}",
                        "{{instance}} high": f"nextclick_quality_recall_at_20_high{{{CHOSEN},{NEWEST}}}",
                    },
                    "percentunit",
                    width=12,
                ),
                scored_lines(
                    "In-sample: events it was trained on",
                    "Recall@20 while a log is replayed that the version was trained on. It flatters, is in "
                    "no other panel, and decides no alert and no rollback.",
                    _in_sample("hits"),
                    "percentunit",
                    width=12,
                    empty="No version has been shown what it was trained on",
                ),
                scored_lines(
                    "Recall@20 over a day of the wall's time",
                    "All workers, hourly means. A fifth below the mean of the day: NextclickRecallFalling.",
                    {"{{system}}": "nextclick:recall_at_20:1h"},
                    "percentunit",
                    width=24,
                ),
            ],
            "By source of a fused list, last hour by the wall": [
                scored_lines(
                    "Recall@20 by source",
                    "What each source's own best 20 would have found, and the list on the same events. "
                    "A source that falls alone has lost what it counts on; the next retraining believes it "
                    "less.",
                    _by_source("hits"),
                    "percentunit",
                    width=12,
                    empty="No fused version serves, or none of its lists has been scored",
                ),
                scored_lines(
                    "MRR@20 by source",
                    "As beside, but by rank. The list should lie above every source.",
                    _by_source("reciprocal_ranks"),
                    "percentunit",
                    width=12,
                    empty="No fused version serves, or none of its lists has been scored",
                ),
            ],
            "By slice, last hour of event time": [
                scored_lines(
                    "Recall@20 by position in the session",
                    "How many events stood behind the list. Position 1 is hard for everybody.",
                    {"{{value}}": _mean("position", "hits", system="champion")},
                    "percentunit",
                ),
                scored_lines(
                    "Recall@20 by age of the item",
                    "trained: the model knows it. Others were born since; only `follow` or a retraining "
                    "lists them.",
                    {"{{value}}": _mean("item_age", "hits", system="champion")},
                    "percentunit",
                ),
                scored_lines(
                    "Events by version",
                    "Scored in the last hour of event time. After a swap the old one's fade out with its "
                    "lists.",
                    {
                        "{{value}}": "sum by (value) (nextclick_quality_events"
                        f'{{{CHOSEN},slice="version",window="1h",system="champion"}})'
                    },
                    "short",
                    stacked=True,
                ),
            ],
            "Not counted": [
                lines(
                    "Events outside of windows",
                    "Scored, but more than 25 h late or far ahead of their partition: a producer's clock "
                    "is wrong.",
                    {"per second": rate("nextclick_quality_outside_events_total")},
                    "cps",
                    width=12,
                ),
                lines(
                    "Announced versions that were refused",
                    "By reason; the old version serves on. `nextclick models` says more.",
                    {
                        "{{reason}}": "sum by (reason) "
                        f"(increase(nextclick_refused_versions_total{{{CHOSEN}}}[1h]))"
                    },
                    "short",
                    width=12,
                ),
            ],
        },
        span="now-6h",
    )
