"""Maximal marginal relevance against a loop that is written as the paper has it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.mining import diversity


def naive(distances, between, count, weight):
    chosen, left = [], list(range(len(distances)))
    while left and len(chosen) < count:
        scores = [
            -(1 - weight) * distances[each] - (weight * max(-between[other][each] for other in chosen) if chosen else 0)
            for each in left
        ]
        if not chosen:
            scores = [-distances[each] for each in left]
        best = left[scores.index(max(scores))]
        chosen.append(best)
        left.remove(best)
    return chosen


@given(st.integers(0, 2**20), st.integers(1, 9), st.integers(1, 9), st.sampled_from((0, 0.25, 0.5, 1)))
@settings(max_examples=80, deadline=None)
def test_the_choice_is_that_of_a_naive_loop_with_ties(seed, num_candidates, count, weight):
    random = np.random.default_rng(seed)
    distances = np.sort(random.integers(0, 4, num_candidates)) / 4
    points = random.integers(0, 3, (num_candidates, 2))
    between = np.abs(points[:, None] - points[None]).sum(axis=2) / 4
    found = diversity.chosen(distances, between, count, weight)
    assert found == naive(distances, between, count, weight)


@pytest.mark.parametrize(("weight", "expected"), [(0, [0, 1]), (0.1, [0, 1]), (0.9, [0, 2])])
def test_a_greater_weight_prefers_what_is_unlike_the_chosen(weight, expected):
    between = np.array([[0, 0.01, 1], [0.01, 0, 1], [1, 1, 0.0]])
    assert diversity.chosen(np.array([0.1, 0.11, 0.9]), between, 2, weight) == expected
