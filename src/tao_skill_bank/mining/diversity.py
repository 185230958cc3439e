"""Chooses candidates that are near to a query and far from each other."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tao_skill_bank.mining.arrays import Numbers


def chosen(distances: "Numbers", between: "Numbers", count: int, diversity: float) -> list[int]:
    """Return the positions of candidates by maximal marginal relevance, in the order of their choice.

    Each choice is the greatest of `(1 - diversity) * relevance - diversity * redundancy` (Carbonell and Goldstein, The
    Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries, SIGIR 1998). Similarity is
    the negative distance, which for the cosine is theirs up to a constant. Ties go to the candidate that comes first.

    Args:
        distances: of the candidates to the query, of shape (candidates,).
        between: of the candidates to each other, of shape (candidates, candidates).
        count: how many are chosen at most.
        diversity: from 0, the nearest ones, to 1, the nearest one and those that are farthest from all chosen ones.

    """
    import numpy as np

    if not diversity:
        return list(range(min(count, len(distances))))  # they are in the order of their distances
    picked: list[int] = []
    nearest_picked = np.zeros(len(distances))  # nothing is redundant yet
    for _ in range(min(count, len(distances))):
        gain = diversity * nearest_picked - (1 - diversity) * distances
        gain[picked] = -np.inf
        best = int(gain.argmax()) if picked else int(distances.argmin())
        nearest_picked = np.minimum(nearest_picked, between[best]) if picked else between[best].copy()
        picked.append(best)
    return picked
