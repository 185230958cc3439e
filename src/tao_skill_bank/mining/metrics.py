"""Distances between embeddings: a quick key of whole blocks that bounds them, and the exact value of single pairs.

The key is made by a matrix product of float32 (manhattan: by SciPy), whose rounding depends on the shapes of blocks.
Which clips are nearest must not depend on them, so keys only rule rows out, by the worst rounding that a sum of so
many products can have (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); whatever they leave is
compared by its exact distance, in float64.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from tao_skill_bank.mining.arrays import Mask, Numbers, Vectors


MetricName = Literal["cosine", "euclidean", "manhattan"]
NAMES: tuple[MetricName, ...] = get_args(MetricName)
UNIT_ROUNDOFF = 2.0**-24  # of float32
FURTHER_ROUNDINGS = 8  # of a norm, a division, a conversion
MANHATTAN_ROWS = 512  # of a block that one thread compares
NUM_THREADS = 2


@dataclass(frozen=True)
class Metric:
    """One distance; `name` is its name."""

    name: MetricName

    def norms(self, block: "Vectors") -> "Vectors":
        """Return the euclidean norm of each float32 row; not finite for one that cannot be compared."""
        import numpy as np

        with np.errstate(over="ignore", invalid="ignore"):
            norms: Vectors = np.sqrt(np.einsum("ij,ij->i", block, block))
        return norms

    def is_usable(self, norms: "Vectors") -> "Mask":
        """Return which rows can be compared: those of a finite norm above 0."""
        import numpy as np

        return np.isfinite(norms) & (norms > 0)

    def prepared(self, queries: "Vectors") -> "Vectors":
        """Return what `keys` takes of float32 queries, of shape (queries, dimension) or (queries, dimension + 1)."""
        import numpy as np

        if self.name == "cosine":
            return -(queries / self.norms(queries)[:, None])
        if self.name == "euclidean":
            return np.concatenate([-2 * queries, np.ones((len(queries), 1), np.float32)], axis=1)
        return queries

    def prepared_block(self, block: "Vectors", norms: "Vectors") -> "Vectors":
        """Return what `keys` takes of usable float32 rows, which may be overwritten."""
        import numpy as np

        if self.name == "cosine":
            block /= norms[:, None]
        if self.name == "euclidean":
            squares = np.square(norms, dtype=np.float32) * np.float32(1 - 4 * self._share(block.shape[1]))
            return np.concatenate([block, squares[:, None]], axis=1)
        return block

    def keys(self, prepared_block: "Vectors", prepared: "Vectors") -> "Vectors":
        """Return keys of shape (rows, queries): a row's key is at most the one of `highest_keys` of its distance."""
        return _manhattan(prepared_block, prepared) if self.name == "manhattan" else prepared_block @ prepared.T

    def highest_keys(self, distances: "Numbers", queries: "Vectors") -> "Vectors":
        """Return the highest float32 key that a row within a distance of its query can have.

        The rounding of a product is at most a share of 2|q||x| <= |q|^2 + |x|^2: what belongs to |x|^2 is taken off the
        key of a block, what belongs to |q|^2 is added here.
        """
        import numpy as np

        share = self._share(queries.shape[1])
        if self.name == "cosine":
            highest = distances - 1 + 2 * share
        elif self.name == "euclidean":
            squares = np.square(queries, dtype=np.float64).sum(axis=1)
            highest = np.square(distances) * (1 + 2 * share) - squares * (1 - 2 * share)
        else:
            highest = distances * (1 + 2 * share)
        return np.nextafter(highest.astype(np.float32), np.float32(np.inf))

    def exact(self, left: "Vectors", right: "Vectors") -> "Numbers":
        """Return the distance of each pair of rows; the same for the same two rows, whatever else is asked."""
        import numpy as np

        one, other = (np.ascontiguousarray(vectors, np.float64) for vectors in (left, right))
        distances: Numbers
        if self.name == "cosine":
            scale = np.sqrt((one * one).sum(axis=1)) * np.sqrt((other * other).sum(axis=1))
            distances = np.clip(1 - (one * other).sum(axis=1) / scale, 0, 2)
        elif self.name == "euclidean":
            distances = np.sqrt(np.square(one - other).sum(axis=1))
        else:
            distances = np.abs(one - other).sum(axis=1)
        return distances

    def _share(self, dimension: int) -> float:
        return (dimension + FURTHER_ROUNDINGS) * UNIT_ROUNDOFF


def _manhattan(block: "Vectors", queries: "Vectors") -> "Vectors":
    """Return the sums of absolute differences, by threads: SciPy lets others run meanwhile."""
    import numpy as np
    from scipy.spatial.distance import cdist

    keys = np.empty((len(block), len(queries)), np.float32)
    wide = queries.astype(np.float64)

    def fill(start: int) -> None:
        part = slice(start, start + MANHATTAN_ROWS)
        keys[part] = cdist(block[part].astype(np.float64), wide, "cityblock")

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(fill, range(0, len(block), MANHATTAN_ROWS)))
    return keys
