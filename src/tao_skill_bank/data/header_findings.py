"""What headers that cannot be read, or were not reached in time, mean for a launch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import MAX_LISTED, blocking, from_error, listed, not_checked
from tao_skill_bank.data.headers import Look, MediaFile
from tao_skill_bank.data.media.clip_index import cut_short
from tao_skill_bank.data.media.refusals import reason_in
from tao_skill_bank.errors import BlockedError

OPTION = "preflight_header_seconds"
BY_JOB = "the job reads them before its first step"


class Named(NamedTuple):
    """What a finding calls a file, and the positions of the records that name it."""

    name: str
    records: Sequence[int] = ()


Naming = Callable[[Sequence[MediaFile]], Mapping[MediaFile, Named]]


def errors(found: Look) -> dict[MediaFile, BlockedError]:
    """Return why files cannot be used: headers that cannot be read, and clips whose copy stopped early."""
    cut = {
        file: cut_short(Path(file.path), header.num_present, header.num_frames)
        for file, header in found.headers.items()
        if not header.is_whole
    }
    return {**found.broken, **cut}


def unusable(where: str, broken: Mapping[MediaFile, BlockedError], named: Naming) -> list[Finding]:
    """Return a finding per code for files that cannot be used, with their names, reasons and records.

    Args:
        where: the annotations or the folder.
        broken: the files and why.
        named: what to call files; asked for those that are listed only.

    """
    by_code: dict[str, list[MediaFile]] = {}
    for file, error in broken.items():
        by_code.setdefault(error.problems[0].code, []).append(file)
    return [_unusable(where, code, files, broken, named) for code, files in by_code.items()]


def left(where: str, found: Look, seconds: float, then: str = BY_JOB) -> list[Finding]:
    """Return the finding on files that the budget left out."""
    if not found.num_left:
        return []
    every = len(found.headers) + len(found.broken) + found.num_left
    message = (
        f"{found.num_left} of {every} media files of {where} were not looked at within the {seconds:g} seconds for "
        f"headers; {then}."
    )
    fix = f"Plan again, which continues where this plan stopped, or set platform.options.{OPTION} higher."
    return [not_checked("headers_not_read", message, fix, where, count=found.num_left, files=every)]


def _unusable(
    where: str,
    code: str,
    files: Sequence[MediaFile],
    broken: Mapping[MediaFile, BlockedError],
    named: Naming,
) -> Finding:
    shown = named(files[:MAX_LISTED])
    records = sorted({index for each in shown.values() for index in each.records})
    evidence = {"files": [each.name for each in shown.values()], "records": records, "count": len(files)}
    problem = broken[files[0]].problems[0]
    if len(files) == 1:
        finding = from_error(broken[files[0]])[0]
        message = f"{finding.message.removesuffix('.')}{_of(shown[files[0]])}."
        return replace(finding, message=message, evidence=evidence)
    said = [f"{each.name}{_of(each)}: {reason_in(broken[file])}" for file, each in shown.items()]
    message = f"{len(files)} media files of {where} cannot be used: {listed(said, len(files))}."
    return blocking(code, message, problem.fix, where, **evidence)


def _of(each: Named) -> str:
    return f" (record {listed(each.records)})" if each.records else ""
