"""The overrides by which every sampled record fits into the longest sequence: each is tried on all of them."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from tao_skill_bank.contracts import Job
from tao_skill_bank.core import nested
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.preflight.model.inspection import sibling_module

ROUND_UP_TO = 1024
SHRINKING = 0.95  # of a rate or a number of pixels, until all records fit
MAX_TRIALS = 60  # down to a twentieth


def choices(job: Job, records: Sequence[Probed], evidence: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return what a user can choose from: a higher limit, a shorter answer, fewer frames, fewer pixels.

    Args:
        job: what is to run.
        records: the sampled ones.
        evidence: of the prediction, with the tokens of the longest record, the limit and the room for an answer.

    """
    limit, module = evidence["limit"], sibling_module(job, "repairs")
    if module is None or limit is None or evidence["tokens"] <= limit:
        return ()
    keys: Mapping[str, str] = import_module(module).sequence_keys(job.spec)
    fitting = (_fitting(job, records, way, keys) for way in _ways(job, keys, evidence))
    return tuple(way for way in fitting if way)


def _ways(job: Job, keys: Mapping[str, str], evidence: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    tokens, limit, room = evidence["tokens"], evidence["limit"], evidence["answer"]
    if "limit" in keys:
        yield {keys["limit"]: -(-tokens // ROUND_UP_TO) * ROUND_UP_TO}
    if "answer" in keys and 0 < (left := limit - (tokens - room)) < room:
        yield {keys["answer"]: left}
    for name in ("rate", "pixels"):
        if name in keys:
            yield {keys[name]: nested.get(job.spec, keys[name])}


def _fitting(
    job: Job, records: Sequence[Probed], way: Mapping[str, Any], keys: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return a way whose value is small enough for all records; None where even the smallest is not."""
    ((path, value),) = way.items()
    shrinks, is_rate = path in (keys.get("rate"), keys.get("pixels")), path == keys.get("rate")
    for power in range(MAX_TRIALS if shrinks else 1):
        smaller = value * SHRINKING**power
        tried = float(f"{smaller:.3g}") if is_rate else int(smaller)
        if _fits(job, records, nested.with_value(job.spec, path, tried), keys.get("limit", "")):
            return {path: tried}
    return None


def _fits(job: Job, records: Sequence[Probed], spec: Mapping[str, Any], limit_key: str) -> bool:
    model = import_module(str(sibling_module(job, "record_tokens")))
    limit = nested.get(spec, limit_key) or job.workload.max_tokens
    try:
        return all(model.record_tokens(spec, record.record, record.probes) <= limit for record in records)
    except BlockedError:
        return False  # a clip has fewer frames than that takes
