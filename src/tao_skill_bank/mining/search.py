"""The exact nearest rows of a pool to every query, in one pass over the pool in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tao_skill_bank.mining.embeddings import Embeddings
from tao_skill_bank.mining.metrics import Metric

if TYPE_CHECKING:
    from tao_skill_bank.mining.arrays import Integers, Mask, Numbers, Vectors


NO_ROW = -1
KEYS_AT_ONCE = 1 << 24  # of a block and some queries: 64 MiB
MOST_ROWS, FEWEST_ROWS = 16_384, 256
QUERIES_AT_ONCE = 4096
PAIRS_AT_ONCE = 2048  # compared in float64


@dataclass(frozen=True)
class Eligible:
    """Which rows of a pool may be found by which queries.

    Attributes:
        rows: of shape (groups, rows).
        groups: the group of each query.

    """

    rows: "Mask"
    groups: "Integers"


@dataclass(frozen=True)
class Nearest:
    """The nearest rows to every query, the nearest one first; ties by `order`.

    Attributes:
        rows: of shape (queries, candidates), NO_ROW where there are no more.
        distances: of the same shape, infinite where there is no row.
        unusable: rows that were not compared, since their embedding is zero or not finite.

    """

    rows: "Integers"
    distances: "Numbers"
    unusable: "Integers"


def nearest(
    pool: Embeddings,
    queries: "Vectors",
    metric: Metric,
    eligible: Eligible,
    order: "Integers",
    num_candidates: int,
) -> Nearest:
    """Return the nearest eligible rows to every query, whatever the size of the blocks.

    Args:
        pool: rows with an embedding that is zero or not finite are not found.
        queries: float32 of shape (queries, dimension), each usable.
        metric: the distance.
        eligible: which rows are searched.
        order: all rows in the order in which rows of equal distance are preferred.
        num_candidates: rows per query.

    Raises:
        BlockedError: the pool cannot be read.

    """
    import numpy as np

    ranks = np.empty(pool.num_rows, np.int64)
    ranks[order] = np.arange(pool.num_rows)
    shares = [slice(first, first + QUERIES_AT_ONCE) for first in range(0, len(queries), QUERIES_AT_ONCE)]
    lists = [
        _Lists(metric, queries[share], Eligible(eligible.rows, eligible.groups[share]), num_candidates)
        for share in shares
    ]
    unusable = [np.empty(0, np.int64)]
    for start, vectors in pool.blocks(rows_per_block(len(queries))):
        is_searched = eligible.rows[:, start : start + len(vectors)].any(axis=0)
        block = vectors.astype(np.float32)
        norms = metric.norms(block)
        is_usable = metric.is_usable(norms)
        unusable.append(start + np.flatnonzero(is_searched & ~is_usable))
        searched = np.flatnonzero(is_searched & is_usable)
        if not len(searched):
            continue
        part = slice(None) if len(searched) == len(vectors) else searched
        prepared = metric.prepared_block(block[part], norms[part])
        numbers = start + searched
        for each in lists:
            each.take(_Block(vectors[part], prepared, numbers, ranks[numbers]))
    found = np.concatenate([each.ranks for each in lists])
    distances = np.concatenate([each.distances for each in lists])
    rows = np.where(np.isfinite(distances), order[np.minimum(found, pool.num_rows - 1)], NO_ROW)
    return Nearest(rows, distances, np.concatenate(unusable))


def rows_per_block(num_queries: int) -> int:
    """Return how many rows of a pool are compared at once."""
    return max(FEWEST_ROWS, min(MOST_ROWS, KEYS_AT_ONCE // max(1, min(num_queries, QUERIES_AT_ONCE))))


@dataclass(frozen=True)
class _Block:
    """Rows of the pool as they are stored and as keys are made of them, their numbers and their ranks among ties."""

    stored: "Vectors"
    prepared: "Vectors"
    numbers: "Integers"
    ranks: "Integers"


class _Lists:
    """The nearest rows to some queries so far: distances and ranks, ascending."""

    def __init__(self, metric: Metric, queries: "Vectors", eligible: Eligible, num_candidates: int) -> None:
        import numpy as np

        self._metric = metric
        self._queries = queries
        self._prepared = metric.prepared(queries)
        self._eligible = eligible
        self._size = num_candidates
        self._most_pairs = (
            4 * num_candidates + 64
        )  # per query and block, before its list is filled from the block first
        self.distances = np.full((len(queries), num_candidates), np.inf)
        self.ranks = np.full((len(queries), num_candidates), np.iinfo(np.int64).max)

    def take(self, block: _Block) -> None:
        """Take in what is nearer than what is there."""
        import numpy as np

        keys = self._metric.keys(block.prepared, self._prepared)
        if len(self._eligible.rows) > 1:
            keys[~self._eligible.rows[:, block.numbers][self._eligible.groups].T] = np.inf
        loose = np.flatnonzero(np.isinf(self.distances[:, -1]))
        self._fill(block, keys, loose)
        rows, queries = self._passing(keys)
        crowded = np.flatnonzero(np.bincount(queries, minlength=len(self._queries)) > self._most_pairs)
        if len(crowded):
            self._fill(block, keys, crowded)
            rows, queries = self._passing(keys)
            rows, queries = self._without_copies(block, rows, queries)
        self._compare(block, rows, queries)

    def _fill(self, block: _Block, keys: "Vectors", queries: "Integers") -> None:
        """Compare the rows of the lowest keys, so that far fewer pass."""
        import numpy as np

        count = min(self._size, len(keys))
        for each in queries:
            column = keys[:, each]
            lowest = np.argpartition(column, count - 1)[:count] if count < len(column) else np.arange(len(column))
            lowest = lowest[column[lowest] < np.inf]
            self._compare(block, lowest, np.full(len(lowest), each))

    def _passing(self, keys: "Vectors") -> tuple["Integers", "Integers"]:
        """Return the (row, query) pairs whose keys do not rule them out."""
        import numpy as np

        highest = self._metric.highest_keys(self.distances[:, -1], self._queries)
        highest = np.minimum(highest, np.finfo(np.float32).max)  # an infinite key is never eligible
        flat = np.flatnonzero(keys <= highest)
        return flat // len(self._queries), flat % len(self._queries)

    def _without_copies(self, block: _Block, rows: "Integers", queries: "Integers") -> tuple["Integers", "Integers"]:
        """Leave out rows of equal embeddings beyond the first ones that can be listed."""
        import numpy as np

        stored = np.ascontiguousarray(block.stored)
        content = stored.view(np.dtype((np.void, stored.dtype.itemsize * stored.shape[1]))).ravel()
        _, copies = np.unique(content, return_inverse=True)
        by_rank = np.lexsort((block.ranks[rows], copies[rows], queries))
        rows, queries = rows[by_rank], queries[by_rank]
        is_kept = _position_in_run(queries * len(stored) + copies[rows]) < self._size
        return rows[is_kept], queries[is_kept]

    def _compare(self, block: _Block, rows: "Integers", queries: "Integers") -> None:
        """Compare (row, query) pairs exactly and keep the nearest."""
        import numpy as np

        for part in _parts(len(rows)):
            distances = self._metric.exact(self._queries[queries[part]], block.stored[rows[part]])
            touched, inverse = np.unique(queries[part], return_inverse=True)
            self._merge(touched, inverse, distances, block.ranks[rows[part]])

    def _merge(self, touched: "Integers", owners: "Integers", distances: "Numbers", ranks: "Integers") -> None:
        """Merge new entries, each of a position in `touched`, into the lists of these queries."""
        import numpy as np

        owners = np.concatenate([np.repeat(np.arange(len(touched)), self._size), owners])
        distances = np.concatenate([self.distances[touched].ravel(), distances])
        ranks = np.concatenate([self.ranks[touched].ravel(), ranks])
        by_distance = np.lexsort((ranks, distances, owners))
        owners, distances, ranks = owners[by_distance], distances[by_distance], ranks[by_distance]
        is_new = np.ones(len(owners), bool)
        is_new[1:] = (owners[1:] != owners[:-1]) | (ranks[1:] != ranks[:-1]) | np.isinf(distances[1:])
        owners, distances, ranks = owners[is_new], distances[is_new], ranks[is_new]
        is_kept = _position_in_run(owners) < self._size
        self.distances[touched] = distances[is_kept].reshape(len(touched), self._size)
        self.ranks[touched] = ranks[is_kept].reshape(len(touched), self._size)


def _position_in_run(values: "Integers") -> "Integers":
    """Return the position of each value among the equal ones next to it."""
    import numpy as np

    positions = np.arange(len(values))
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if len(values) else positions
    lengths = np.diff(np.append(starts, len(values)))
    return positions - np.repeat(starts, lengths)


def _parts(count: int) -> Iterator[Any]:
    return (slice(first, first + PAIRS_AT_ONCE) for first in range(0, count, PAIRS_AT_ONCE))
