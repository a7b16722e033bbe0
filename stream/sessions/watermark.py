"""Event-time watermark of a partition: the event time that it has reached.

The largest event time so far that the sessions of the partition bear out. Each of the newest VOTES
sessions votes with the time of its newest event; more than two thirds of them must have passed a time
before the watermark follows further than SOLO_MS ahead of it. A minority of wrong clocks therefore
moves it by a minute at most, however often it sends, and ends no session. The watermark never goes
back. It is a function of the records below an offset, so that reading them again gives the same
watermark, unless the wall clock advanced it when no records came.
"""

from __future__ import annotations

import zlib

import msgspec

# How far one session alone moves the watermark ahead of what two thirds of the sessions have passed.
SOLO_MS = 60_000
# The newest sessions that vote; the commit metadata holds two such sets, of at most 4,096 bytes.
VOTES = 31
QUORUM = 8
# Further ahead of its partition, an event is in no window of the quality yet: see stream.quality.
LEAP_MS = 600_000


class Watermark(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Milliseconds since the epoch, 0 before the first event, and the votes from which it goes on.

    `agreed_ms` is a time that two thirds of the sessions have passed, found when it was needed last, 0
    for none; `voters` are the CRC-32 of the newest sessions, the newest last, and `votes_ms` their
    times. `leap_*` are of earlier releases, which read and write them still.

    >>> Watermark(1_000).after("s", 2_000).ms
    2000
    >>> leap = Watermark(1_000).after("s", 9_000_000)
    >>> leap.ms, leap.after("t", 9_000_000).ms
    (1000, 9000000)
    """

    ms: int = 0
    leap_ms: int = 0
    leap_session: str = ""
    agreed_ms: int = 0
    voters: tuple[int, ...] = ()
    votes_ms: tuple[int, ...] = ()

    def after(self, session_id: str, event_time_ms: int) -> Watermark:
        """The watermark after one more event."""
        voter, voters, votes_ms = zlib.crc32(session_id.encode()), self.voters, self.votes_ms
        place = -1
        if voter in voters:
            place = voters.index(voter)
        elif len(voters) == VOTES:
            place = 0
        if place >= 0:
            voters = voters[:place] + voters[place + 1 :]
            votes_ms = votes_ms[:place] + votes_ms[place + 1 :]
        voters, votes_ms = (*voters, voter), (*votes_ms, event_time_ms)
        ms, agreed_ms = self.ms, self.agreed_ms
        if event_time_ms > ms:
            if event_time_ms <= (agreed_ms or ms) + SOLO_MS:
                ms = event_time_ms
            else:
                agreed_ms = _passed(votes_ms, ms)
                ms = max(ms, agreed_ms)
        return Watermark(ms, 0, "", agreed_ms, voters, votes_ms)

    def later(self, by_ms: int) -> Watermark:
        """The watermark that much later by the wall; the votes go with it.

        >>> Watermark(1_000).after("s", 2_000).later(500).votes_ms
        (2500,)
        """
        agreed_ms = self.agreed_ms + by_ms if self.agreed_ms else 0
        votes_ms = tuple(vote + by_ms for vote in self.votes_ms)
        return Watermark(self.ms + by_ms, 0, "", agreed_ms, self.voters, votes_ms)


def _passed(votes_ms: tuple[int, ...], ms: int) -> int:
    """The time that two thirds of the votes have passed.

    Of a partition with fewer than QUORUM sessions, the others are as if they voted for `ms`; one with
    two sessions has only begun, and needs both.
    """
    others = QUORUM - len(votes_ms) if len(votes_ms) > 2 else 1
    votes = sorted((*votes_ms, *(ms for _ in range(others))))
    return votes[len(votes) // 3]


NO_WATERMARK = Watermark()
