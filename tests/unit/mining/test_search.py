"""Exact search against a naive one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.mining import search
from tao_skill_bank.mining.metrics import NAMES, Metric
from tao_skill_bank.mining.search import NO_ROW, Eligible


class Blocks:
    """A pool in memory with blocks of a given size."""

    def __init__(self, vectors, rows_at_once):
        self.vectors, self.num_rows, self.rows_at_once = vectors, len(vectors), rows_at_once

    def blocks(self, _):
        for start in range(0, self.num_rows, self.rows_at_once):
            yield start, self.vectors[start : start + self.rows_at_once]


def distance(metric, query, row):
    query, row = query.astype(np.float64), row.astype(np.float64)
    if metric == "cosine":
        cosine = (query * row).sum() / (np.sqrt((query * query).sum()) * np.sqrt((row * row).sum()))
        return min(max(1 - cosine, 0), 2)
    return np.sqrt(((query - row) ** 2).sum()) if metric == "euclidean" else np.abs(query - row).sum()


def naive(metric, queries, vectors, eligible, order, count):
    ranks = {row: rank for rank, row in enumerate(order)}
    found = []
    for number, query in enumerate(queries):
        rows = [row for row in range(len(vectors)) if eligible.rows[eligible.groups[number], row]]
        rows = sorted(rows, key=lambda row: (distance(metric, query, vectors[row]), ranks[row]))[:count]
        found.append(rows + [NO_ROW] * (count - len(rows)))
    return np.array(found)


def everything(num_rows, num_queries):
    return Eligible(np.ones((1, num_rows), bool), np.zeros(num_queries, np.int64))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_nearest_rows_are_those_of_a_naive_search_with_ties_in_any_blocks(data):
    metric = data.draw(st.sampled_from(NAMES))
    seed, dtype = data.draw(st.integers(0, 2**20)), data.draw(st.sampled_from((np.float16, np.float32)))
    num_rows, num_queries, dimension = (data.draw(st.integers(1, most)) for most in (90, 4, 6))
    count, rows_at_once = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 90))
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, (num_rows, dimension)).astype(dtype)
    vectors[~vectors.any(axis=1)] = 1
    queries = random.integers(1, 3, (num_queries, dimension)).astype(np.float32)
    groups = random.integers(0, 2, num_queries)
    eligible = Eligible(random.random((2, num_rows)) < 0.8, groups)
    order = random.permutation(num_rows)
    found = search.nearest(Blocks(vectors, rows_at_once), queries, Metric(metric), eligible, order, count)
    expected = naive(metric, queries, vectors, eligible, order, count)
    assert found.rows.tolist() == expected.tolist()
    for number, row in zip(*np.nonzero(expected != NO_ROW), strict=True):
        assert found.distances[number, row] == distance(metric, queries[number], vectors[expected[number, row]])


@pytest.mark.parametrize("metric", NAMES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_random_embeddings_of_full_width_are_found_exactly(metric, dtype):
    random = np.random.default_rng(1)
    vectors = random.standard_normal((700, 1152)).astype(dtype)
    vectors[300:350] = vectors[:50]  # copies in other blocks
    queries = random.standard_normal((5, 1152)).astype(np.float32)
    queries[0] = vectors[7]
    eligible, order = everything(700, 5), np.arange(700)[::-1].copy()
    expected = naive(metric, queries, vectors, eligible, order, 9)
    for rows_at_once in (64, 333, 700):
        found = search.nearest(Blocks(vectors, rows_at_once), queries, Metric(metric), eligible, order, 9)
        assert found.rows.tolist() == expected.tolist()
    assert expected[0, :2].tolist() == [307, 7]


@pytest.mark.parametrize("metric", NAMES)
def test_a_pool_of_equal_embeddings_gives_the_first_rows_in_order(metric):
    vectors = np.tile(np.arange(1, 9, dtype=np.float16), (5000, 1))
    order = np.random.default_rng(0).permutation(5000)
    found = search.nearest(
        Blocks(vectors, 2048), vectors[:2].astype(np.float32), Metric(metric), everything(5000, 2), order, 5
    )
    assert found.rows.tolist() == [order[:5].tolist()] * 2


@pytest.mark.parametrize("metric", NAMES)
def test_a_pool_in_which_every_block_is_nearer_than_the_one_before_is_found_exactly(metric):
    random = np.random.default_rng(2)
    query = random.standard_normal((1, 64)).astype(np.float32)
    away = random.standard_normal((4000, 64)) * np.linspace(3, 0.1, 4000)[:, None]
    vectors = (query + away).astype(np.float32)
    eligible, order = everything(4000, 1), np.arange(4000)
    found = search.nearest(Blocks(vectors, 500), query, Metric(metric), eligible, order, 6)
    assert found.rows.tolist() == naive(metric, query, vectors, eligible, order, 6).tolist()


@pytest.mark.parametrize("metric", NAMES)
def test_the_exact_distance_of_a_pair_does_not_depend_on_other_pairs(metric):
    random = np.random.default_rng(3)
    left, right = (random.standard_normal((50, 1152)).astype(np.float16) for _ in range(2))
    together = Metric(metric).exact(left, right)
    alone = [Metric(metric).exact(left[[row]], right[[row]])[0] for row in range(50)]
    assert together.tolist() == alone


@pytest.mark.parametrize("metric", NAMES)
def test_no_key_is_above_the_highest_of_its_distance(metric):
    random = np.random.default_rng(4)
    block = (random.standard_normal((400, 1152)) * random.lognormal(0, 3, (400, 1))).astype(np.float32)
    queries = (random.standard_normal((20, 1152)) * random.lognormal(0, 3, (20, 1))).astype(np.float32)
    queries[:5] = block[:5]
    measure = Metric(metric)
    keys = measure.keys(measure.prepared_block(block.copy(), measure.norms(block)), measure.prepared(queries))
    for number, query in enumerate(queries):
        distances = measure.exact(np.tile(query, (400, 1)), block)
        assert (keys[:, number] <= measure.highest_keys(distances, np.tile(query, (400, 1)))).all()
