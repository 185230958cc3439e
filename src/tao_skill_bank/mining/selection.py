"""From the nearest rows of every query to what is mined: near enough, diverse, and so many of a class at most."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tao_skill_bank.mining import diversity
from tao_skill_bank.mining.metrics import Metric
from tao_skill_bank.mining.queries import Query
from tao_skill_bank.mining.search import NO_ROW, Nearest

if TYPE_CHECKING:
    from tao_skill_bank.mining.arrays import Integers, Mask, Vectors


@dataclass(frozen=True)
class Rules:
    """What is mined.

    Attributes:
        top_k: rows per query.
        threshold: the greatest distance; None for any.
        per_class: records, or clips of a pool without records, of one class at most; None for any number.
        diversity: from 0 to 1, see `diversity.chosen`.
        same_class: only records of the class of the query's right answer.

    """

    top_k: int = 5
    threshold: float | None = None
    per_class: int | None = None
    diversity: float = 0.0
    same_class: bool = False


@dataclass(frozen=True)
class Pick:
    """A row that a query found; `rank` counts from 1 in the order of the query's choice."""

    query: int
    row: int
    rank: int
    distance: float


@dataclass(frozen=True)
class Item:
    """What is mined: a record of a labelled pool (`record` is its position), or a clip (None)."""

    row: int
    record: int | None
    class_name: str


@dataclass(frozen=True)
class Choice:
    """What is mined, in the order of its choice, and by which queries it was found.

    Attributes:
        items: each once.
        picks: of every query, those of full classes included.
        num_full: items that were left out since their class is full.

    """

    items: tuple[Item, ...]
    picks: tuple[Pick, ...]
    num_full: int


@dataclass(frozen=True)
class Candidates:
    """What is chosen from.

    Attributes:
        nearest: rows of every query.
        vectors: float32 embeddings of `rows`, ascending; None where diversity does not ask for them.
        is_open: which rows of the pool may be mined.

    """

    nearest: Nearest
    is_open: "Mask"
    metric: Metric
    rows: "Integers | None" = None
    vectors: "Vectors | None" = None

    def of(self, query: int, threshold: float | None) -> list[tuple[int, float]]:
        """Return the (row, distance) pairs of a query that may be mined, the nearest one first."""
        limit = float("inf") if threshold is None else threshold
        pairs = zip(self.nearest.rows[query].tolist(), self.nearest.distances[query].tolist(), strict=True)
        return [(row, far) for row, far in pairs if row != NO_ROW and far <= limit and self.is_open[row]]

    def are_exhausted(self, query: int, rules: Rules) -> bool:
        """Return whether a query needs more candidates than were looked for."""
        row, farthest = self.nearest.rows[query, -1], self.nearest.distances[query, -1]
        has_more = row != NO_ROW and (rules.threshold is None or farthest <= rules.threshold)
        return bool(has_more) and len(self.of(query, None)) < rules.top_k


def choose(
    candidates: Candidates, queries: Sequence[Query], rules: Rules, records: Sequence[list[int]], classes: Sequence[str]
) -> Choice:
    """Return what is mined.

    The first choice of every query comes before any second one, so that a class that is full has something for most
    of them.

    Args:
        candidates: of every query.
        queries: in the order of `candidates`.
        rules: how many, how near.
        records: positions of the records of each row of the pool; empty for a pool without records.
        classes: of every record.

    """
    picks = [pick for query in range(len(queries)) for pick in _picks(candidates, query, rules)]
    picks.sort(key=lambda pick: (pick.rank, pick.distance, pick.query))
    items: dict[tuple[int, int | None], Item] = {}
    counts: Counter[str] = Counter()
    full: set[tuple[int, int | None]] = set()
    for pick in picks:
        for item in _items(pick.row, queries[pick.query], rules, records, classes):
            key = (item.row, item.record)
            if key in items or key in full:
                continue
            if rules.per_class is not None and counts[item.class_name] >= rules.per_class:
                full.add(key)
                continue
            counts[item.class_name] += 1
            items[key] = item
    return Choice(tuple(items.values()), tuple(picks), len(full))


def _picks(candidates: Candidates, query: int, rules: Rules) -> Iterator[Pick]:
    import numpy as np

    pairs = candidates.of(query, rules.threshold)
    order = list(range(min(rules.top_k, len(pairs))))
    if rules.diversity and pairs:
        assert candidates.vectors is not None
        assert candidates.rows is not None
        vectors = candidates.vectors[np.searchsorted(candidates.rows, [row for row, _ in pairs])]
        between = np.stack([candidates.metric.exact(np.broadcast_to(each, vectors.shape), vectors) for each in vectors])
        distances = np.array([distance for _, distance in pairs])
        order = diversity.chosen(distances, between, rules.top_k, rules.diversity)
    for rank, position in enumerate(order, start=1):
        yield Pick(query, pairs[position][0], rank, pairs[position][1])


def _items(
    row: int, query: Query, rules: Rules, records: Sequence[list[int]], classes: Sequence[str]
) -> Iterator[Item]:
    if not records:
        yield Item(row, None, query.class_name)
        return
    for record in records[row]:
        if not rules.same_class or classes[record] == query.class_name:
            yield Item(row, record, classes[record])
