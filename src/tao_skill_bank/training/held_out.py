"""Splits a dataset into training and validation by the names of its items."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from tao_skill_bank.errors import BlockedError


def held_out_names(names: Sequence[str], test_size: float, seed: int, *, spec_path: str) -> frozenset[str]:
    """Return the names of the validation items, chosen by a hash of seed and name.

    The order of the items does not matter, and items that share a name stay together.

    Args:
        names: name of every item.
        test_size: a ratio below 1, or a count of validation items.
        seed: different seeds give different splits.
        spec_path: parameter that `test_size` comes from, for the error.

    Raises:
        BlockedError: one side would be empty.

    """
    count = round(test_size * len(names)) if test_size < 1 else int(test_size)
    sizes = Counter(names)
    ranked = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).hexdigest())
    chosen: set[str] = set()
    num_chosen = 0
    for name in ranked:
        if num_chosen >= count:
            break
        chosen.add(name)
        num_chosen += sizes[name]
    if not 0 < num_chosen < len(names):
        kept = len(names) - num_chosen
        message = (
            f"{spec_path} {test_size:g} splits {len(names)} items: {kept} for training, {num_chosen} for validation."
        )
        raise BlockedError.of(
            "empty_split", message, f"Choose {spec_path} so that both sets get items.", path=spec_path
        )
    return frozenset(chosen)
