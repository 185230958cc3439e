"""Uploads a run directory to an object store as it grows, and records whether the upload is complete.

`upload.json` next to the results (logs/upload.json here) lists the uploaded files with sizes and checksums. Its `state`
is `complete` only once the store listed every file with its correct size. Only complete files are uploaded: hidden
temporary files are skipped until they are renamed, and recently modified files wait.
"""

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from tao_skill_bank.core import json_reader
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.runs.run_directory import read_object, timestamp, verbatim_json, write_whole
from tao_skill_bank.staging import places, store_errors, stores
from tao_skill_bank.staging.stores import Entry, Store

REMOTE_MANIFEST, LOCAL_MANIFEST = "upload.json", "logs/upload.json"
UPLOADING, COMPLETE, INCOMPLETE = "uploading", "complete", "incomplete"
GROWING = ("*.jsonl", "*.log")  # append-only: uploaded repeatedly as they grow
WHOLE_HIDDEN = (".metadata",)  # of a sharded checkpoint
SETTLE_SECONDS = 3.0
NUM_UPLOADS = 4
MAX_ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0
READ_BYTES = 2**20
logger = logging.getLogger(__name__)


@dataclass
class Manifest:
    """The uploaded files of one job's run directory; `failed` has the reason for each failed file."""

    job_id: str
    state: str = UPLOADING
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        shown = {
            name: {key: value for key, value in file.items() if key != "mtime_ns"} for name, file in self.files.items()
        }
        return {
            "job_id": self.job_id, "state": self.state, "updated": timestamp(), "files": dict(sorted(shown.items())),
            "failed": self.failed, "reason": self.reason, "fix": self.fix,
        }  # fmt: skip


class Uploader:
    """Uploads new files of a run directory and keeps track of uploaded ones."""

    def __init__(self, run_dir: Path, results_uri: str, job_id: str, excludes: Sequence[str]) -> None:
        self.run_dir, self.uri, self.excludes = run_dir, results_uri, tuple(excludes)
        self.manifest = Manifest(job_id)
        before = manifest_in(run_dir / LOCAL_MANIFEST)
        if before.get("job_id") == job_id:
            self.manifest.files = before["uploaded"]
        self.stopped = threading.Event()  # running uploads finish, no new ones start
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = stores.of(self.uri)
        return self._store

    def look(self) -> None:
        """Upload new and complete files; failures are retried at the next pass."""
        now = time.time()
        names = [name for name, status in self._new() if _grows(name) or now - status.st_mtime >= SETTLE_SECONDS]
        self.manifest.failed = {}
        self._upload(names, max_attempts=1)
        if names or self.manifest.failed:
            self._record(is_last=False)

    def finish(self) -> Manifest:
        """Upload the remaining files, remove deleted ones, verify against the store, and record the outcome."""
        manifest = self.manifest
        manifest.failed = {}
        self._upload([name for name, _ in self._new()], max_attempts=MAX_ATTEMPTS)
        if not manifest.failed:
            self._compare()
        manifest.state = INCOMPLETE if manifest.failed else COMPLETE
        if manifest.failed and not manifest.reason:
            manifest.reason = next(iter(manifest.failed.values()))
        self._record(is_last=True)
        return manifest

    def names(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the files to upload: complete files by name, without excluded ones."""
        for folder, subfolders, files in os.walk(self.run_dir):
            here = Path(folder).relative_to(self.run_dir)
            subfolders[:] = [name for name in subfolders if not name.startswith(".") and self._is_wanted(here / name)]
            for name in sorted(files):
                if (not name.startswith(".") or name in WHOLE_HIDDEN) and self._is_wanted(here / name):
                    try:
                        yield (here / name).as_posix(), (self.run_dir / here / name).stat()
                    except OSError:
                        continue  # renamed or pruned meanwhile

    def _is_wanted(self, path: Path) -> bool:
        name = path.as_posix()
        is_inputs = path.name == places.INPUTS and (self.run_dir / path.parent / "plan.json").is_file()
        if name == LOCAL_MANIFEST or is_inputs:  # of the run, or of a trial in it
            return False
        return not any(fnmatch(name, pattern) or fnmatch(path.name, pattern) for pattern in self.excludes)

    def _new(self) -> list[tuple[str, os.stat_result]]:
        known = self.manifest.files
        return [
            (name, status)
            for name, status in self.names()
            if (file := known.get(name)) is None
            or (file["size"], file["mtime_ns"]) != (status.st_size, status.st_mtime_ns)
        ]

    def _upload(self, names: Sequence[str], *, max_attempts: int) -> None:
        manifest = self.manifest
        manifest.reason = manifest.fix = ""

        def put(name: str) -> None:
            if self.stopped.is_set():
                return
            if manifest.reason:  # the store is unreachable: every other file would time out as well
                manifest.failed[name] = manifest.reason
                return
            try:
                self._put(name, max_attempts)
            except FileNotFoundError:
                manifest.files.pop(name, None)  # pruned meanwhile
            except TaoSkillsError as error:
                problem = error.problems[0]
                manifest.failed[name] = problem.message
                manifest.reason, manifest.fix = problem.message, problem.fix

        with ThreadPoolExecutor(NUM_UPLOADS) as pool:
            list(pool.map(put, names))

    def _put(self, name: str, max_attempts: int) -> None:
        path, uri = self.run_dir / name, places.join(self.uri, name)
        for attempt in range(max_attempts):
            described = _describe(path)
            try:
                self.store.put(path, uri)
            except FileNotFoundError:
                if path.exists():
                    raise store_errors.explain(FileNotFoundError("NoSuchBucket"), uri) from None
                raise
            except Exception as error:  # noqa: BLE001 - whatever the store's client raises
                if attempt + 1 == max_attempts or not store_errors.is_worth_retrying(error):
                    raise store_errors.explain(error, uri) from None
                time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
            else:
                self.manifest.files[name] = described  # a later change is detected by its mtime
                return

    def _compare(self) -> None:
        """Remove locally pruned files from the store, and record files that the store does not have as sent."""
        manifest = self.manifest
        try:
            with store_errors.explained(self.uri):
                for name in [name for name in manifest.files if self._was_pruned(name)]:
                    self.store.remove(places.join(self.uri, name))
                    del manifest.files[name]
                there = stores.relative(self.store.below(self.uri), self.uri)
                for name in [name for name, file in manifest.files.items() if not _is_same(there.get(name), file)]:
                    if name in there:  # the listed ETag of an encrypted file is not an MD5
                        there[name] = self.store.entry(there[name].uri)
        except TaoSkillsError as error:
            manifest.failed["*"] = manifest.reason = error.problems[0].message
            manifest.fix = error.problems[0].fix
            return
        for name, file in manifest.files.items():
            if not _is_same(there.get(name), file):
                manifest.failed[name] = f"{places.join(self.uri, name)} does not match the uploaded file in the store."
        for name in manifest.failed:
            manifest.files.pop(name, None)

    def _was_pruned(self, name: str) -> bool:
        """Return whether a file was deleted from a folder that still exists, such as an old checkpoint."""
        top = self.run_dir / PurePosixPath(name).parts[0]
        return not (self.run_dir / name).exists() and top.is_dir() and any(top.iterdir())

    def _record(self, *, is_last: bool) -> None:
        """Write the manifest remotely and locally; the local one has more details, for a later process that resumes."""
        document = self.manifest.to_json()
        try:
            with store_errors.explained(self.uri):
                self.store.write(json.dumps(document, indent=1).encode(), places.join(self.uri, REMOTE_MANIFEST))
        except TaoSkillsError as error:
            if is_last or not self.manifest.reason:
                problem = error.problems[0]
                self.manifest.reason, self.manifest.fix = problem.message, problem.fix
            self.manifest.failed.setdefault(REMOTE_MANIFEST, error.problems[0].message)
            self.manifest.state = INCOMPLETE if is_last else UPLOADING
            document = self.manifest.to_json()
        local = self.run_dir / LOCAL_MANIFEST
        local.parent.mkdir(exist_ok=True)
        write_whole(local, verbatim_json({**document, "uploaded": self.manifest.files}))


def read_manifest(results_uri: str) -> dict[str, Any] | None:
    """Return the manifest next to remote results; None where there is none. Raises BlockedError, BackendError."""
    uri = places.join(results_uri, REMOTE_MANIFEST)
    store = stores.of(uri)
    with store_errors.explained(uri):
        entry = store.entries([uri]).get(uri)  # unlike `entry`, it distinguishes a missing bucket from a missing file
        if entry is None:
            return None
        try:
            document: Any = json_reader.loads(store.read(entry, 0, entry.size))
        except ValueError:  # of another writer, or cut: the results have none
            return None
    manifest = _shaped(document) if isinstance(document, dict) else {}
    return manifest if "job_id" in manifest else None


def manifest_in(file: Path) -> dict[str, Any]:
    """Return a manifest next to the results on this machine; empty when there is none that can be read."""
    document = read_object(file)
    return _shaped(document) if document else {}


def _shaped(document: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest whose files are objects with a size, and whose other fields are texts."""
    listed = {name: document.get(name) for name in ("files", "uploaded", "failed")}
    shaped: dict[str, Any] = {
        name: value for name, value in document.items() if isinstance(value, str) and name not in listed
    }
    for name, files in listed.items():
        known = files.items() if isinstance(files, dict) else ()
        shaped[name] = {path: held for path, held in known if name == "failed" or _has_size(held)}
    return shaped


def _has_size(held: Any) -> bool:
    return isinstance(held, dict) and isinstance(held.get("size"), int)


def _is_same(entry: Entry | None, file: dict[str, Any]) -> bool:
    """Return whether the store has a file as it was sent, as far as it reports."""
    if entry is None or entry.size != file["size"]:
        return False
    kind, _, found = entry.checksum.partition(":")
    return kind not in file or found == file[kind]


def _grows(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in GROWING)


def _describe(path: Path) -> dict[str, Any]:
    """Return size, time and checksums of a file, as it was before it is sent."""
    status = path.stat()
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            size += len(data)
            md5.update(data)
            sha256.update(data)
    return {"size": size, "mtime_ns": status.st_mtime_ns, "md5": md5.hexdigest(), "sha256": sha256.hexdigest()}
