"""Checks what a job reads from object stores and where its results go, and reads small annotation files from there."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import hashes
from tao_skill_bank.core.findings import blocking, from_error, info, not_checked, size
from tao_skill_bank.data import kinds
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.staging import blobs, places, store_errors, stores, uploads

MAX_ANNOTATION_BYTES = 64 * 2**20
MAX_PAGES = 20  # of names, 1,000 each, that are listed to look for missing media
MAY_DIFFER_THERE = ("credential_", "storage_unreachable", "missing_extra")


@dataclass
class RemoteData:
    """What was found in object stores.

    Attributes:
        uris: local copy of an index file to the URI that the request names.
        failed: URI of an index file to why it was not read.

    """

    uris: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Finding] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def with_uris(self, findings: Sequence[Finding]) -> list[Finding]:
        """Return findings that name remote files as the request does, not by their local copies."""
        return [self._with_uris(found) for found in findings] if self.uris else list(findings)

    def _with_uris(self, found: Finding) -> Finding:
        fix, evidence = found.fix, found.evidence
        for local, uri in self.uris.items():
            if local in fix and "fix-video-fps" in fix:
                evidence = {name: value for name, value in evidence.items() if name != "copy"}  # of the local file
                root = places.parent(uri)
                fix = f"tao-skills data stage {root} DATA, then tao-skills data fix-video-fps on its annotation file; "
                fix += "upload the copy and name it."
        return replace(
            found, message=self._named(found.message), fix=self._named(fix), path=self._named(found.path),
            evidence=self._named(evidence),
        )  # fmt: skip

    def _named(self, value: Any) -> Any:
        if isinstance(value, str):
            for local, uri in self.uris.items():
                value = value.replace(local, uri)
        elif isinstance(value, list):
            return [self._named(item) for item in value]
        elif isinstance(value, dict):
            return {key: self._named(item) for key, item in value.items()}
        return value


def check(remote: RemoteData) -> list[Finding]:
    """Return the findings of inputs other than index files, which their kinds report, and of the results' location."""
    return remote.findings


def look(job: Job, scratch: Path, *, runs_here: bool) -> RemoteData:
    """Ask the stores for everything that a job names there. What only this machine may lack blocks only jobs on it.

    Index files are read from the cache of staged data, or in `scratch` where that cannot be written.
    """
    data = RemoteData()
    annotations = list(dict.fromkeys(_index_files(job)))
    for uri in annotations:
        try:
            _read_annotation(uri, data, scratch)
        except TaoSkillsError as error:
            data.failed[uri] = _finding(error, runs_here=runs_here)
    others = [uri for uri, _ in job.fetches if places.is_remote(uri) and uri not in annotations]
    reason = {found.code for found in data.failed.values()}
    for uri in dict.fromkeys(places.split_fragment(uri)[0] for uri in others):
        try:
            _require_there(uri)
        except TaoSkillsError as error:
            if error.problems[0].code not in reason:  # one refusal of the same keys is enough
                data.findings.append(_finding(error, runs_here=runs_here))
                reason.add(error.problems[0].code)
    if job.results_uri:
        data.findings += [
            found for found in _results(job, job.results_uri, runs_here=runs_here) if found.code not in reason
        ]
    return data


def existing(folders: Iterable[str]) -> Any:
    """Return the hash of every file in some remote folders; None when there are too many of them, or no answer."""
    found = hashes.new()
    budget = MAX_PAGES
    try:
        for folder in folders:
            store = stores.of(folder)
            for page in store.pages(folder):
                found.extend(hash(entry.uri) for entry in page)
                budget -= 1
                if budget < 0:
                    return None
    except Exception:  # noqa: BLE001 - the cause is in the finding of the store itself
        return None
    return found


def _index_files(job: Job) -> Iterator[str]:
    """Yield the files in object stores that name what else is read."""
    package = job.module.rpartition(".")[0]
    for given in job.workload.inputs:
        for name, place in kinds.of(given, package).paths.items():
            if place.is_index and places.is_remote(given.paths[name]):
                yield given.paths[name]


def _read_annotation(uri: str, data: RemoteData, scratch: Path) -> None:
    store = stores.of(uri)
    with store_errors.explained(uri):
        entry = store.entry(uri)
    if entry.size > MAX_ANNOTATION_BYTES:
        message = f"Annotations {uri} are {size(entry.size)}: they are read by the job and were not checked here."
        fix = f"To have them checked first: tao-skills data stage {places.parent(uri)} FOLDER, then name the folder."
        data.failed[uri] = not_checked("annotation_remote", message, fix, uri)
        return
    try:
        local = blobs.fetch(store, entry)
    except OSError:
        local = blobs.fetch(store, entry, place=scratch)
    data.uris[str(local)] = uri


def _require_there(uri: str) -> None:
    with store_errors.explained(uri):
        if not stores.of(uri).is_there(uri):
            raise store_errors.missing(uri)


def _results(job: Job, uri: str, *, runs_here: bool) -> list[Finding]:
    try:
        manifest = uploads.read_manifest(uri)
        with store_errors.explained(uri):
            is_used = manifest is not None or bool(stores.of(uri).is_there(f"{uri}/"))
    except TaoSkillsError as error:
        return [_finding(error, runs_here=runs_here)]
    if is_used and not (job.workload.resume or job.workload.adds):
        holder = f" of job {manifest['job_id']}" if manifest else ""
        message = f"Results would go to {uri}, which holds files{holder} already."
        fix = "Choose another results_dir, or remove what is there."
        return [blocking("results_dir_not_empty", message, fix, uri)]
    return [info("results_remote", f"Results are uploaded to {uri} as they appear, from {job.results_dir}.", uri)]


def _finding(error: TaoSkillsError, *, runs_here: bool) -> Finding:
    found = from_error(error)[0]
    if runs_here or not found.code.startswith(MAY_DIFFER_THERE):
        return found
    fix = f"{found.fix} The machines of the job need it; this one does not."
    return replace(found, severity="warning", message=f"From this machine: {found.message}", fix=fix)
