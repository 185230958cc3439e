"""The subset that a limit takes: the same for every model that is measured on the data, whatever its order."""

import hashlib
from collections.abc import Sequence

from tao_skill_bank.contracts import Finding

TAKEN, ABOVE = "subset", "limit_above_data"


def chosen(names: Sequence[str], limit: int) -> list[int]:
    """Return the positions, in order, of `limit` items, or of all where there are no more.

    Items are ranked by a hash of their names, as in the split of a validation set: a larger limit adds to a smaller
    one, and of items that share a name the first ones come first.
    """
    digests = {name: hashlib.sha256(name.encode(errors="surrogatepass")).digest() for name in names}
    ranked = sorted(range(len(names)), key=lambda position: (digests[names[position]], position))
    return sorted(ranked[:limit])


def findings(path: str, limit: int | None, available: int, noun: str, takes_all: int | None = None) -> list[Finding]:
    """Return what a limit takes, as a finding; nothing for a limit that takes all of them exactly, or none.

    Args:
        path: spec key of the limit.
        limit: its value, None for all.
        available: number of items.
        noun: what they are, in the plural.
        takes_all: the value of the key that takes all of them.

    """
    if limit is None or limit == available:
        return []
    value = "null" if takes_all is None else takes_all
    if limit > available:
        message = f"{path} {limit} is above the {available} {noun} that there are: all of them are taken."
        fix = f"Remove the limit, or add {noun}: --set {path}={value}"
        return [Finding(ABOVE, "warning", message, fix, path, {"records": available}, fix_set={path: takes_all})]
    message = f"{path} takes {limit} of {available} {noun}: a subset, chosen by a hash of their names."
    fix = f"Its figures and intervals are those of {limit} {noun}; for all of them: --set {path}={value}"
    return [Finding(TAKEN, "info", message, fix, path, {"taken": limit, "records": available})]


def text(taken: int, available: int, noun: str) -> str:
    """Return how many of how many, for a closing message."""
    return f"{taken} {noun}" if taken == available else f"{taken} of {available} {noun} (a subset)"
