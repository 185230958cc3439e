"""How mined clips differ from those of the KPI set in size and rate, which a model may see rather than the content."""

from collections.abc import Callable, Iterable
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import listed, warning
from tao_skill_bank.data.check.near_copies import Fingerprint

FIX = "Scale or resample the pool like the KPI clips, or mix in clips that are like them: else the size is learned."


def findings(mined: Iterable[Fingerprint], held_out: Iterable[Fingerprint], path: str) -> list[Finding]:
    """Return a warning for sizes and one for rates that mined clips have and no KPI clip has."""
    ours, theirs = list(mined), list(held_out)
    sizes = _other("pool_size_differs", "size", lambda seen: f"{seen.width}x{seen.height}", ours, theirs, path)
    rates = _other("pool_rate_differs", "frame rate", lambda seen: f"{seen.rate:.3g} fps", ours, theirs, path)
    return sizes + rates


def _other(
    code: str, noun: str, value: Callable[[Fingerprint], str], ours: list[Fingerprint], theirs: list[Any], path: str
) -> list[Finding]:
    known = {value(seen) for seen in theirs}
    others = [value(seen) for seen in ours if value(seen) not in known]
    if not others or not known:
        return []
    different = sorted(set(others))
    message = (
        f"{len(others)} of {len(ours)} mined clips have another {noun} than any KPI clip: {listed(different)}, where "
        f"those have {listed(sorted(known))}."
    )
    return [warning(code, message, FIX, path, count=len(others), values=different[:20])]
