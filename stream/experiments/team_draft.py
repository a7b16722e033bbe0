"""One list of two by team draft, each place with its owner.

Radlinski, Kurup, Joachims, How does clickthrough data reflect retrieval quality?, CIKM 2008: in each
round a coin says which side picks first; each picks its best item that is not in the list yet. So
either side is as likely to own any place, and whose items are taken more often ranks better. The coins
are a hash of the list's event: the same event gives the same list, run after run.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

# The owners in the header `owners`, one letter for each place.
OF_CHAMPION, OF_CHALLENGER, OF_NONE = "A", "B", "-"


def team_draft(
    champion: Sequence[str], challenger: Sequence[str], length: int, coins: int
) -> tuple[list[str], str]:
    """The items of the drafted list and the owner of each place; bit r of `coins` is 0: the champion
    picks first in round r.

    >>> team_draft(["a", "b", "c"], ["b", "d"], 4, coins=0)
    (['a', 'b', 'c', 'd'], 'ABAB')
    >>> team_draft(["a", "b", "c"], ["b", "d"], 4, coins=1)
    (['b', 'a', 'c', 'd'], 'BAAB')
    """
    teams = ((OF_CHAMPION, iter(champion)), (OF_CHALLENGER, iter(challenger)))
    items: list[str] = []
    owners: list[str] = []
    drafted: set[str] = set()
    drained = 0
    while len(items) < length and drained < len(teams):
        order = teams[::-1] if coins & 1 else teams
        coins >>= 1
        drained = 0
        for owner, best in order:
            item = next((one for one in best if one not in drafted), None)
            if item is None:
                drained += 1
            elif len(items) < length:
                drafted.add(item)
                items.append(item)
                owners.append(owner)
    return items, "".join(owners)


def coins_of(salt: str, event_id: str) -> int:
    """The 64 coins of a list, by the experiment's id and the list's event."""
    return int.from_bytes(blake2b(f"{salt}/{event_id}".encode(), digest_size=8).digest())
