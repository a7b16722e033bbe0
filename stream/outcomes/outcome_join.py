"""Joins the lists of one partition with the events that followed: each list once, and always alike.

Event time is the watermark of the partition's events. A list is of the event that it was made after, and its
time is over when the watermark has gone on by the window and the lateness that is allowed since that event
was read. A later event belongs to it where its own time is at most the window after that of the list's
event, and it was read before the list's time was over: late and disordered events count as far as the
lateness goes, clocks that go wrong do not hold the others up, and the outcome is a function of the log. Only
a session's forgetting, which says what time it is by the wall, counts however much later it comes: of what is
to be forgotten nothing is written once that is read.

Lists wait in the log, not in memory: they are read on when the events are a window ahead. So what is done is
every list below one offset, and a crash needs no more than that and the first event that is still kept.
Lists that are published again after a worker's crash name an event that has an outcome already.

Memory: the events of a window, at most `most_events`; beyond that lists are closed early, and counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from stream.events import FORGET, Event, Recommendation
from stream.outcomes.kept_events import KeptEvent, KeptEvents
from stream.outcomes.outcome import MOST_TAKEN, TAKEN_KINDS, Outcome, Taken

MOST_EVENTS = 500_000
# Sessions of a wave may overtake each other: the lists of so many events may come in any order.
DISORDER = 20_000
# Why a list has no outcome: it is there twice, its event is forgotten, no such event is in the log, its
# session is to be forgotten, or it is no list.
REPEATED, LATE, NO_EVENT, FORGOTTEN, UNREADABLE = "repeated", "late", "no_event", "forgotten", "unreadable"
LEFT_OUT_REASONS = (REPEATED, LATE, NO_EVENT, FORGOTTEN, UNREADABLE)


class ShownList(NamedTuple):
    """A list as it was published: the offset of its record and of its event, and its headers.

    `shown` is None for a record that is no list; `again`: it had its outcome before a restart.
    """

    offset: int
    event_offset: int
    shown: Recommendation | None
    headers: dict[str, str]
    again: bool = False


@dataclass
class JoinCounts:
    """What became of lists and events since these counts were taken last."""

    lists: int = 0
    outcomes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    closed_early: int = 0
    events: int = 0
    late_events: int = 0


class OutcomeJoin:
    """The lists of one partition that wait, and the events that they may need.

    >>> join = OutcomeJoin(0, within_ms=1_000, lateness_ms=0)
    >>> join.add_event(0, Event("s", 50_000, "i"))
    >>> join.add_list(ShownList(0, 0, Recommendation("s", "0-0", 50_000, "v", ["j"], [1.0]), {}))
    >>> join.add_event(1, Event("s", 50_500, "j")), list(join.outcomes())
    (None, [])
    >>> join.add_event(2, Event("s", 51_000, "k"))
    >>> [taken.item_id for taken in next(join.outcomes()).taken]
    ['j']
    """

    def __init__(
        self,
        partition: int,
        within_ms: int,
        lateness_ms: int,
        kept: KeptEvents | None = None,
        most_events: int = MOST_EVENTS,
    ) -> None:
        self._partition, self._within_ms, self._lateness_ms = partition, within_ms, lateness_ms
        self._most_events = most_events
        self.kept = KeptEvents() if kept is None else kept
        self.waiting: deque[ShownList] = deque()
        self.counts = JoinCounts()
        # By event from the first kept one: whether its list has an outcome.
        self._has_outcome = bytearray()
        self._reached = -1
        # From which list on the kept events' lists are, by ranges of lists.
        self._ranges: deque[tuple[int, int]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether no further event can be kept until lists have come."""
        return len(self.kept) >= self._most_events

    @property
    def first_list(self) -> int | None:
        """The offset from which lists must be read again to know which events have an outcome."""
        return self._ranges[0][0] if self._ranges else None

    def add_event(self, offset: int, event: Event | None) -> None:
        """Add the partition's next record of `events`, None for one that is no event."""
        self.kept.add(offset, event)
        if event is not None:
            self.counts.events += 1
            self.counts.late_events += event.event_time_ms + self._lateness_ms < self.kept.watermark.ms

    def add_list(self, one: ShownList) -> None:
        """Add the partition's next list."""
        self.waiting.append(one)

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes of the lists whose time is over, in the order of the lists."""
        while self.waiting:
            one = self.waiting[0]
            if one.shown is not None and one.event_offset >= self.kept.end:
                break
            made = self._made(one)
            if made is None:
                break
            self.waiting.popleft()
            if not one.again:
                self.counts.lists += 1
                self.counts.outcomes += isinstance(made, Outcome)
                if isinstance(made, str):
                    self.counts.left_out[made] += 1
            if isinstance(made, Outcome):
                yield made
            if self.is_full:
                self._forget()
        self._forget()

    def begin_anew(self, first: int) -> None:
        """Go on with the events from `first` on: those before it are gone, or no list needs them."""
        self.kept = KeptEvents(first, self.kept.watermark)
        self._has_outcome.clear()
        self._ranges.clear()
        self._reached = -1

    def pass_time(self, by_ms: int) -> None:
        """Let event time go on with the wall."""
        if self.kept.watermark.ms:
            self.kept.watermark = self.kept.watermark.later(by_ms)

    def pop_counts(self) -> JoinCounts:
        """What became of lists and events since the last call."""
        counts, self.counts = self.counts, JoinCounts()
        return counts

    def leave_out_unknown(self, end: int) -> None:
        """The log of the events ends at `end`: leave out waiting lists of events beyond it."""
        while self.waiting and self.waiting[0].shown is not None and self.waiting[0].event_offset >= end:
            one = self.waiting.popleft()
            if not one.again:
                self.counts.lists += 1
                self.counts.left_out[NO_EVENT] += 1

    def _made(self, one: ShownList) -> Outcome | str | None:
        """The outcome of a list, or why it has none; None while its time is not over."""
        shown, kept = one.shown, self.kept
        if shown is None:
            return UNREADABLE
        if one.event_offset < kept.first:
            return LATE
        event = kept.event(shown.session_id, one.event_offset)
        if event is None:
            return NO_EVENT
        place = one.event_offset - kept.first
        if place < len(self._has_outcome) and self._has_outcome[place]:
            return REPEATED
        over_ms = event.read_ms + self._within_ms + self._lateness_ms
        if not one.again and kept.watermark.ms < over_ms:
            if not self.is_full:
                return None
            self.counts.closed_early += 1
        self._note(one, place)
        if one.again:
            return REPEATED
        later = list(kept.after(shown.session_id, one.event_offset))
        # However much later: what is to be forgotten is not written any more.
        if event.kind == FORGET or any(each.kind == FORGET for each in later):
            return FORGOTTEN
        until_ms = shown.event_time_ms + self._within_ms
        followed = [each for each in later if each.read_ms < over_ms and each.time_ms <= until_ms]
        return self._outcome(one, shown, followed)

    def _note(self, one: ShownList, place: int) -> None:
        """Note that the list's event has an outcome."""
        missing = place + 1 - len(self._has_outcome)
        self._has_outcome.extend(bytes(max(0, missing)))
        self._has_outcome[place] = 1
        self._reached = max(self._reached, one.event_offset)
        if self._ranges and one.offset - self._ranges[-1][0] < 1_000:
            first, most = self._ranges[-1]
            self._ranges[-1] = first, max(most, one.event_offset)
        else:
            self._ranges.append((one.offset, one.event_offset))

    def _forget(self) -> None:
        """Forget events before those of the lists to come, which may still be in disorder."""
        kept, reached = self.kept, self._reached
        if self.waiting and (self.is_full or self.waiting[0].event_offset < kept.end):
            reached = max(reached, self.waiting[0].event_offset)
        if reached < kept.first:
            return
        end = min(reached, kept.end) - min(DISORDER, self._most_events // 2)
        if not self.is_full and kept.first < end:
            # By time, too: in a busy log many events are of one moment.
            reached_ms = kept.read_ms(min(reached, kept.end - 1))
            while end > kept.first and kept.read_ms(end - 1) + self._lateness_ms >= reached_ms:
                end -= 1_000
        before = kept.first
        kept.forget(end)
        del self._has_outcome[: kept.first - before]
        while self._ranges and self._ranges[0][1] < kept.first:
            self._ranges.popleft()

    def _outcome(self, one: ShownList, shown: Recommendation, followed: list[KeptEvent]) -> Outcome:
        headers, owners = one.headers, one.headers.get("owners", "")
        places = {item: place for place, item in reversed(list(enumerate(shown.items, 1)))}
        chosen = [later for later in followed if later.kind in TAKEN_KINDS]
        listed = [later for later in chosen if later.item_id in places]
        taken = [
            Taken(
                f"{self._partition}-{later.offset}",
                later.item_id,
                later.kind,
                place := places[later.item_id],
                max(0, later.time_ms - shown.event_time_ms),
                owners[place - 1 : place],
                later.price,
            )
            for later in listed[:MOST_TAKEN]
        ]
        return Outcome(
            session_id=shown.session_id,
            event_id=shown.event_id,
            event_time_ms=shown.event_time_ms,
            model_version=shown.model_version,
            items=shown.items,
            taken=taken,
            within_ms=self._within_ms,
            next_place=places.get(chosen[0].item_id, 0) if chosen else None,
            position=int(headers.get("position", "0")) if headers.get("position", "0").isdecimal() else 0,
            source=headers.get("fallback") or headers.get("level", ""),
            experiment=headers.get("experiment", ""),
            side=headers.get("side", ""),
            propensity=_propensity(headers.get("propensity", "1")),
            owners=owners,
            not_counted=len(listed) - len(taken),
        )


def _propensity(text: str) -> float:
    """The propensity in a header; 1 where another program wrote something else there."""
    try:
        found = float(text)
    except ValueError:
        return 1.0
    return found if 0 < found <= 1 else 1.0
