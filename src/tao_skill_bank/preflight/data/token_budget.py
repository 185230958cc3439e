"""Predicts the longest sequence of the sampled records and compares it with what the run accepts."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core.findings import blocking, from_error, info, not_checked
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.preflight.data import shorter
from tao_skill_bank.preflight.model.inspection import sibling_module

ROUND_UP_TO = 1024


def longest(job: Job, records: Sequence[Probed]) -> int | None:
    """Return the predicted tokens of the longest sampled record of a training; None where none can be predicted."""
    if not job.workload.trains or sibling_module(job, "record_tokens") is None:
        return None
    return max((length for length, _ in _lengths(job, records)[0]), default=None)


def prompt(job: Job, records: Sequence[Probed]) -> tuple[float, int] | None:
    """Return the mean predicted tokens of sampled prompts and the most of an answer; None where none is predicted."""
    if not records or sibling_module(job, "record_tokens") is None:
        return None
    lengths, answer = [length for length, _ in _lengths(job, records)[0]], _answer_tokens(job)
    return (sum(lengths) / len(lengths) - answer, answer) if lengths else None


def check(job: Job, records: Sequence[Probed]) -> list[Finding]:
    """Return the predicted length of the longest sampled record, blocking when it is above `max_tokens`."""
    if not records:
        return []
    if sibling_module(job, "record_tokens") is None:
        message = f"{job.module} has no record_tokens module in its package: sequence lengths were not predicted."
        return [not_checked("tokens_not_predicted", message, "Add one to the model.")]
    lengths, problems = _lengths(job, records)
    if not lengths:
        return problems
    found = _longest(job, lengths)
    return [*problems, replace(found, fix_choices=shorter.choices(job, records, found.evidence))]


def _lengths(job: Job, records: Sequence[Probed]) -> tuple[list[tuple[int, Probed]], list[Finding]]:
    """Return the predicted tokens of every record, and the problems of those that have none."""
    model = _model(job)
    lengths: list[tuple[int, Probed]] = []
    problems: list[Finding] = []
    for record in records:
        try:
            lengths.append((model.record_tokens(job.spec, record.record, record.probes), record))
        except BlockedError as error:
            name = _name(record)
            problems += [
                replace(found, message=f"Record {name}: {found.message}")
                for found in from_error(error)
                if found.code != "clip_too_short" or not _is_reported_as_short(record, job.workload.num_frames)
            ]
    return lengths, problems


def _is_reported_as_short(record: Probed, num_frames: int | None) -> bool:
    """Return whether the whole of a clip is too short, as the check of sampled media reports."""
    pairs = zip(record.media, record.probes, strict=True)
    clips = [probe for media, probe in pairs if media.kind == "video" and media.indices is None]
    return any(num_frames is not None and probe.num_frames < num_frames for probe in clips)


def _name(record: Probed) -> str:
    return str(record.record.get("id", record.media[0].name))


def _longest(job: Job, lengths: Sequence[tuple[int, Probed]]) -> Finding:
    num_tokens, record = max(lengths, key=lambda entry: entry[0])
    limit = job.workload.max_tokens
    name = _name(record)
    room = _answer_tokens(job)
    takes = f"takes about {num_tokens} tokens"
    takes += f" ({num_tokens - room} of its own and room for an answer of {room})" if room else ""
    evidence: dict[str, Any] = {"tokens": num_tokens, "limit": limit, "record": record.index, "answer": room}
    evidence["sampled"] = sorted(length for length, _ in lengths)
    if limit is None or num_tokens <= limit:
        bound = f", of {limit} accepted" if limit else ""
        basis = f" ({_model(job).basis(job.spec)})" if hasattr(_model(job), "basis") else ""
        return info(
            "tokens_predicted",
            f"The longest sampled record, {name}, {takes}{bound}{basis}.",
            **evidence,
        )
    raised = -(-num_tokens // ROUND_UP_TO) * ROUND_UP_TO
    message = f"Record {name} {takes}, and the run accepts {limit}."
    share = (limit - room) / (num_tokens - room)
    fixes = [f"raise the longest sequence to {raised}"]
    if 0 < limit - (num_tokens - room) < room:
        fixes.append(f"lower the longest answer to {limit - (num_tokens - room)} tokens")
    if share > 0 and job.workload.fps is not None:
        fixes.append(f"lower fps to {job.workload.fps * share * 0.95:.2g}")
    if share > 0:
        fixes.append(f"multiply {_model(job).PIXELS} by {share * 0.95:.2f}")
    return blocking("tokens_over_limit", message, f"Do one of: {'; '.join(fixes)}.", **evidence)


def _answer_tokens(job: Job) -> int:
    return int(_model(job).answer_tokens(job.spec))


def _model(job: Job) -> Any:
    return import_module(str(sibling_module(job, "record_tokens")))
