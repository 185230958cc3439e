"""Batches of similar length, dealt out so that ranks finish together."""

import pytest

from tao_skill_bank.models.cosmos_reason import rank_assignment

LENGTHS = [5, 900, 30, 7, 400, 31, 6, 890, 29, 8]


def test_batches_hold_every_question_once_in_similar_lengths_the_longest_first() -> None:
    made = rank_assignment.batches(LENGTHS, 3)
    assert made == [(1, 7, 4), (5, 2, 8), (9, 3, 6), (0,)]
    assert rank_assignment.batches([], 3) == []


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_every_batch_goes_to_one_rank_whatever_their_number(world: int) -> None:
    made = rank_assignment.batches(LENGTHS, 2)
    costs = [rank_assignment.cost(batch, LENGTHS, 10) for batch in made]
    shares = rank_assignment.assign(made, costs, world)
    assert len(shares) == world
    assert sorted(batch for share in shares for batch in share) == sorted(made)


def test_ranks_get_similar_work() -> None:
    lengths = [4000] * 3 + [1000] * 12 + [50] * 40
    made = rank_assignment.batches(lengths, 1)
    costs = [rank_assignment.cost(batch, lengths, 16) for batch in made]
    shares = rank_assignment.assign(made, costs, 4)
    price = dict(zip(made, costs, strict=True))
    work = [sum(price[batch] for batch in share) for share in shares]
    assert max(work) / (sum(work) / 4) < 1.1
    round_robin = [sum(costs[rank::4]) for rank in range(4)]
    assert max(work) < max(round_robin)
