"""Warnings about a log: leaks, and properties that mislead a model or an evaluation.

Tested by tests/unit/replay/log_report/test_report.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from replay.log_report.report import LogReport
from replay.log_report.survey import DAY_MS

# Thresholds of the warnings.
MANY_CONSTANT, FEW_CONSTANT = 0.5, 0.1
ENOUGH_SESSIONS, ENOUGH_PAIRS = 100, 100
STRAGGLERS = 0.002
MINUTE_MS = 60_000
YEAR_1990_MS = 631_152_000_000


@dataclass(frozen=True)
class LogWarning:
    """A short name, what was found, and what follows from it."""

    name: str
    found: str
    follows: str


def warnings_of(report: LogReport) -> list[LogWarning]:
    """All warnings that the figures of a report call for."""
    return [warning for check in CHECKS for warning in check(report)]


def _gaps(r: LogReport) -> Iterator[LogWarning]:
    s = r.sessions
    if (
        s.final_gap_ms
        and s.sampled >= ENOUGH_SESSIONS
        and s.final_gap_share > MANY_CONSTANT
        and s.inner_gap_share < FEW_CONSTANT
    ):
        yield LogWarning(
            "constant final gaps",
            f"{s.final_gap_share:.0%} of the final gaps are {s.final_gap_ms:,} ms, "
            f"of the gaps before {s.inner_gap_share:.1%}",
            "The time of a session's last event is made up, and tells that it is the last: no feature and no "
            "label from gaps.",
        )
    if s.long_gaps > 0.01:
        yield LogWarning(
            "long silence within sessions",
            f"{s.long_gaps:.1%} of the sessions are silent for more than half an hour",
            "The session rule cuts them there (--session-gap-s); 0 keeps sessions as logged.",
        )


def _order(r: LogReport) -> Iterator[LogWarning]:
    s = r.sessions
    if s.backward > 0.05:
        yield LogWarning(
            "shuffled rows",
            f"{s.backward:.0%} of a session's neighbours in the file go back in time",
            "Order comes from the times alone. Near 50 % one of the two is drawn at random: find out which."
            if s.backward > 0.35
            else "The file is not in order; it is sorted by time before it is used.",
        )
    if s.equal_times > 0.2:
        yield LogWarning(
            "equal times",
            f"{s.equal_times:.0%} of the gaps within sessions are 0",
            "Times do not tell the order there: it is the file's, that of a basket's lines or of ids maybe.",
        )
    if r.step_ms >= MINUTE_MS:
        unit = "days" if r.step_ms % DAY_MS == 0 else f"{r.step_ms / MINUTE_MS:g} minutes"
        yield LogWarning(
            "coarse times",
            f"all times are whole {unit} apart",
            "Order within that is not known, and pace and session gaps mean little.",
        )
    if s.order_ratio is not None and s.order_pairs >= ENOUGH_PAIRS:
        # For a random order the ratio is 1 with this standard error.
        error = (2 / s.order_pairs) ** 0.5
        if s.order_ratio < 1 + 3 * error:
            yield LogWarning(
                "order without information",
                f"of {s.order_pairs:,} pairs of items one comes first as often as the other "
                f"(ratio {s.order_ratio:.2f}; 1 when drawn)",
                "Times or rows may be shuffled: a model of sequences will hardly beat one of co-occurrence.",
            )


def _sessions(r: LogReport) -> Iterator[LogWarning]:
    s = r.sessions
    if s.sampled < ENOUGH_SESSIONS:
        return
    if s.one_click > 0.5:
        yield LogWarning(
            "one-click sessions",
            f"{s.one_click:.0%} of the sessions have one event",
            "They teach nothing and are not evaluated; a live system has to serve them all the same.",
        )
    elif s.one_click == 0:
        yield LogWarning(
            "no one-click sessions",
            f"the shortest of {s.sampled:,} sessions has {s.lengths.minimum or 0:.0f} events",
            "They were removed: that a session goes on after its first event is known here, live it is not.",
        )
    if s.repeated_events == 0 and s.lengths.mean and s.lengths.mean >= 2:
        yield LogWarning(
            "no repeated items",
            f"no item repeats in {s.sampled:,} sessions",
            "Repeats were removed: keep a session's own items out of its lists (--exclude-session-items); "
            "live sessions repeat.",
        )
    if s.astride_the_split > 0.01:
        yield LogWarning(
            "sessions astride the split",
            f"{s.astride_the_split:.1%} of the sessions begin before the newest tenth and end in it",
            "Cut by event, they would be in training and test; split by whole sessions.",
        )
    if s.durations_s.percentiles.get(50, 0) > DAY_MS / 1000:
        yield LogWarning(
            "sessions of days",
            f"half of the sessions last more than {s.durations_s.percentiles[50] / 86_400:.0f} days",
            "The session ids are users, probably: let the session rule cut them.",
        )
    if s.in_long_sessions > 0.01 or s.fast_long_sessions:
        yield LogWarning(
            "very long sessions",
            f"{s.in_long_sessions:.1%} of the events lie in sessions of more than 200; "
            f"{s.fast_long_sessions:,} of those have an event a second or more",
            "Bots, wholesale baskets, or ids that many share: they weigh in training and in averages.",
        )


def _rows(r: LogReport) -> Iterator[LogWarning]:
    left_out = r.rejects.get("duplicate", 0)
    doubled = round(r.sessions.duplicates * r.sessions.sampled_events) * r.sessions.one_in
    if doubled or left_out:
        of_them = f"; {left_out:,} others were left out" if left_out else ""
        yield LogWarning(
            "duplicated events",
            f"{doubled:,} rows have session, item, time and kind of another{of_them}",
            "An item then predicts itself; a repeat may also be an event that was delivered twice.",
        )
    if "file is cut off" in r.rejects:
        yield LogWarning(
            "cut off", "a file ends too early", "Fetch it again, or mind that the end is missing."
        )
    if floats := sum(account.get("float_ids", 0) for account in r.read.values()):
        yield LogWarning(
            "ids as floats",
            f"{floats:,} ids were written as floats (4.0), and are read as integers (4)",
            "A program took them for numbers: above 2^53 such ids are no longer the original ones.",
        )
    bad = sum(count for reason, count in r.rejects.items() if not reason.startswith("metadata: "))
    if bad > 0.01 * (bad + r.events):
        worst = max(r.rejects.items(), key=lambda pair: pair[1])
        yield LogWarning(
            "much left out",
            f"{bad:,} of {bad + r.events:,} rows are not used, most because of: {worst[0]} ({worst[1]:,})",
            "Check that these are the rows you expect to lose.",
        )
    for name, share in r.missing.items():
        if share > 0.05:
            yield LogWarning(
                f"missing {name}",
                f"{share:.0%} of the events have no {name}",
                "A network that reads it sees a missing value there.",
            )
    if r.first_ms < YEAR_1990_MS:
        yield LogWarning(
            "times near 1970",
            "the first event is before 1990",
            "The unit is wrong, probably: seconds read as milliseconds.",
        )


def _items(r: LogReport) -> Iterator[LogWarning]:
    i = r.items
    span_days = (r.last_ms - r.first_ms) / DAY_MS
    if span_days >= 4 and i.median_age_h is not None and i.younger_than_a_day > 0.25:
        yield LogWarning(
            "young items",
            f"{i.younger_than_a_day:.0%} of the later events are of items first seen within a day before"
            + (f"; {i.new_a_day:,.0f} new items a day" if i.new_a_day else ""),
            "The catalogue ages in hours: hold a model against the last hour's POP, and retrain often.",
        )
    if i.number_popularity is not None and abs(i.number_popularity) > 0.8:
        yield LogWarning(
            "ids tell popularity",
            f"the number in an item's id and its events correlate by {i.number_popularity:+.2f} (Spearman)",
            "The ids were numbered by it, over the whole log and the test too: no feature from ids, and ties "
            "must not be broken by them.",
        )
    if i.items >= ENOUGH_SESSIONS and i.seen_once > 0.5 * i.items:
        yield LogWarning(
            "items seen once",
            f"{i.seen_once / i.items:.0%} of the items have one event",
            "Nothing can be learned of them from clicks.",
        )


def _days(r: LogReport) -> Iterator[LogWarning]:
    hours = sorted(r.hours)
    counts = [r.hours[hour] for hour in hours]
    stragglers, total = 0, sum(counts)
    while len(counts) > 1 and stragglers + counts[-1] <= STRAGGLERS * total:
        stragglers += counts.pop()
    early_h = hours[-1] - hours[len(counts) - 1]
    if early_h >= 24 and early_h > 0.2 * (hours[-1] - hours[0]):
        yield LogWarning(
            "stragglers",
            f"the last {early_h / 24:.0f} days have {stragglers:,} of {total:,} events",
            "A split by time may leave those few for the test: split by share of events.",
        )
    empty = sum(count == 0 for count in r.days.values())
    if empty:
        yield LogWarning(
            "days without events", f"{empty} of {len(r.days)} days", "Part of the log may be missing."
        )


def _test(r: LogReport) -> Iterator[LogWarning]:
    if r.contained is None:
        return
    c = r.contained
    if c.events > 0 or c.sessions > 0:
        yield LogWarning(
            "test within training",
            f"{c.events:.1%} of the test's events, {c.sessions:.1%} of its sessions are in the training log",
            "What is measured on them is remembered, not predicted.",
        )
    if c.before_the_end > 0:
        yield LogWarning(
            "test before the end of training",
            f"{c.before_the_end:.1%} of the test's events are earlier than the last of the training",
            "The training knows of that time what a live model would not.",
        )


CHECKS: tuple[Callable[[LogReport], Iterator[LogWarning]], ...] = (
    _gaps,
    _order,
    _sessions,
    _rows,
    _items,
    _days,
    _test,
)
