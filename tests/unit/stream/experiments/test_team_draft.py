from hypothesis import given
from hypothesis import strategies as st

from stream.experiments.team_draft import OF_CHALLENGER, OF_CHAMPION, coins_of, team_draft

ranked = st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), unique=True, max_size=20)


@given(ranked, ranked, st.integers(0, 20), st.integers(0, 2**64 - 1))
def test_every_place_is_its_owners_best_item_that_was_left(
    champion: list[str], challenger: list[str], length: int, coins: int
) -> None:
    items, owners = team_draft(champion, challenger, length, coins)
    assert len(items) == len(owners) == min(length, len({*champion, *challenger}))
    assert len(set(items)) == len(items)
    lists = {OF_CHAMPION: champion, OF_CHALLENGER: challenger}
    for place, (item, owner) in enumerate(zip(items, owners, strict=True)):
        assert item == next(one for one in lists[owner] if one not in items[:place])
    # While both have items left, neither is more than one pick ahead.
    for end in range(min(len(items), 2 * min(len(champion), len(challenger)))):
        drafted = set(items[:end])
        if all(set(one) - drafted for one in lists.values()):
            assert abs(owners[:end].count(OF_CHAMPION) - owners[:end].count(OF_CHALLENGER)) <= 1


def test_identical_lists_are_owned_evenly_place_by_place() -> None:
    """A/A: whichever place is clicked, neither side is credited more than chance allows."""
    best, drafts = [f"i{n}" for n in range(20)], 4000
    owners = [team_draft(best, best, 20, coins_of("e1", f"0-{n}"))[1] for n in range(drafts)]
    for place in range(20):
        share = sum(one[place] == OF_CHALLENGER for one in owners) / drafts
        assert abs(share - 0.5) < 5 * (0.25 / drafts) ** 0.5, place


def test_the_same_event_gives_the_same_coins() -> None:
    assert coins_of("e1", "0-7") == coins_of("e1", "0-7") != coins_of("e1", "0-8")
    assert coins_of("e1", "0-7") != coins_of("e2", "0-7")
