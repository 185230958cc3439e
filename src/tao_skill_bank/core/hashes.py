"""Compares millions of names at 8 bytes each.

A name is kept as its 64-bit `hash`, in the order of the file; two different names among a million share one with a
chance of 3 in 100 million. Comparisons go part by part, so that no set holds more than about a million hashes.
Hashes are salted per process: compare only those made in the same one.
"""

import itertools
from array import array
from collections.abc import Iterable

HASHES_PER_PART = 1_000_000


def new() -> "array[int]":
    """Return an empty store of hashes."""
    return array("q")


def repeated(hashes: "array[int]") -> "array[int]":
    """Return the positions whose hash stands at an earlier position already, in order."""
    num_parts = 1 + len(hashes) // HASHES_PER_PART
    if num_parts == 1 and len(set(hashes)) == len(hashes):
        return new()
    found = new()
    for part in range(num_parts):
        seen = set()
        for position, value in enumerate(hashes):
            if value % num_parts == part:
                if value in seen:
                    found.append(position)
                else:
                    seen.add(value)
    return _in_order(found, num_parts)


def positions_in(hashes: "array[int]", others: "array[int]", *, present: bool) -> "array[int]":
    """Return the positions of `hashes` whose value is present among (or absent from) `others`, in order."""
    if present and _are_disjoint(hashes, others):
        return new()
    num_parts = 1 + len(others) // HASHES_PER_PART
    found = new()
    for part in range(num_parts):
        known = {value for value in others if value % num_parts == part} if num_parts > 1 else set(others)
        if num_parts == 1 and not present and known.issuperset(hashes):
            break
        found.extend(
            position
            for position, value in enumerate(hashes)
            if value % num_parts == part and (value in known) is present
        )
    return _in_order(found, num_parts)


def first_distinct(values: Iterable[int], limit: int) -> tuple[list[int], int]:
    """Return the first distinct values of an ascending sequence, and how many distinct ones there are."""
    first: list[int] = []
    count = 0
    for value, _ in itertools.groupby(values):
        count += 1
        if count <= limit:
            first.append(value)
    return first, count


def _in_order(positions: "array[int]", num_parts: int) -> "array[int]":
    return positions if num_parts == 1 else array("q", sorted(positions))


def _are_disjoint(hashes: "array[int]", others: "array[int]") -> bool:
    """Tell, at the price of a set of the smaller store, whether nothing is shared; False when both are large."""
    smaller, larger = sorted((hashes, others), key=len)
    return len(smaller) <= HASHES_PER_PART and set(smaller).isdisjoint(larger)
