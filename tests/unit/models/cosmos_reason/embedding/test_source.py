"""Batches of rows by tokens."""

from tao_skill_bank.models.cosmos_reason.embedding import source


def test_batches_hold_at_most_the_budget_the_longest_first() -> None:
    lengths = [5, 100, 20, 30, 20, 0]
    assert source.batches(lengths, 50) == [(1,), (3, 2), (4, 0, 5)]
    assert source.batches([], 50) == []


def test_rows_of_unknown_length_do_not_make_one_huge_batch() -> None:
    made = source.batches([0] * (2 * source.MOST_ROWS + 1), 50)
    assert list(map(len, made)) == [source.MOST_ROWS, source.MOST_ROWS, 1]
