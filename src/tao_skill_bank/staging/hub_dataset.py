"""Resolves a dataset to a local folder: hf_dataset://ORG/NAME[@REVISION] is downloaded, a folder is used as it is."""

import json
import logging
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tao_skill_bank.core import locations, settings
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.staging import hub_errors

SCHEME = "hf_dataset://"
MARKER = ".download.json"  # the revision and the files in a folder
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A dataset's folder; `revision` is the downloaded commit, empty for a user's folder."""

    folder: Path
    revision: str = ""


def locate(name: str, patterns: tuple[str, ...] = ()) -> Source:
    """Return the folder of a dataset, downloaded to $TAO_STATE_DIR/datasets when it is on the Hub.

    An interrupted download resumes where it stopped. Without a connection, a finished one is used as it is.

    Args:
        name: hf_dataset://ORG/NAME[@REVISION], or a folder.
        patterns: restricts the files to download; all by default.

    Raises:
        UnknownNameError: there is no such folder, dataset or revision.
        BlockedError: the Hub refuses access, or is disabled.
        BackendError: the Hub cannot be reached.

    """
    if not name.startswith(SCHEME):
        folder = locations.absolute(name)
        if not folder.is_dir():
            message = f"Dataset folder {folder} does not exist."
            raise UnknownNameError.of("unknown_dataset", message, f"Give a folder, or {SCHEME}ORG/NAME.")
        return Source(folder)
    repository, _, revision = name.removeprefix(SCHEME).partition("@")
    folder = settings.state_dir() / "datasets" / re.sub(r"[^\w.@-]+", "--", name.removeprefix(SCHEME))
    return Source(folder, _download(repository, revision, folder, patterns))


def _download(repository: str, revision: str, folder: Path, patterns: tuple[str, ...]) -> str:
    """Update a folder to a revision and return its commit."""
    try:
        return _snapshot(repository, revision, folder, patterns)
    except hub_errors.client_errors() as error:
        explained = hub_errors.explain(error, repository, revision, "dataset")
        earlier = _finished(folder)
        if not hub_errors.is_unreachable(explained) or earlier.get("patterns") != list(patterns):
            raise explained from None
    logger.info("The Hub cannot be reached; %s is loaded from %s", repository, folder)
    return str(earlier["revision"])


def _snapshot(repository: str, revision: str, folder: Path, patterns: tuple[str, ...]) -> str:
    import huggingface_hub

    found = huggingface_hub.HfApi().dataset_info(repository, revision=revision or None)
    commit = found.sha or ""
    finished = {"revision": commit, "patterns": list(patterns)}
    if _finished(folder) == finished:
        return commit
    names = [item.rfilename for item in found.siblings or []]
    wanted = [name for name in names if not patterns or any(fnmatch(name, pattern) for pattern in patterns)]
    if not wanted:
        message = f"The dataset {repository} contains no {', '.join(patterns) or 'files'}."
        page = f"{hub_errors.PAGES['dataset']}{repository}/tree/{revision or 'main'}"
        raise UnknownNameError.of("unknown_folder", message, f"Name one of its folders; see {page}.")
    (folder / MARKER).unlink(missing_ok=True)
    huggingface_hub.snapshot_download(
        repository,
        repo_type="dataset",
        revision=commit or None,
        local_dir=folder,
        allow_patterns=list(patterns) or None,
    )
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:  # the client may return an incomplete folder when the connection breaks
        raise OSError(f"{len(missing)} files are missing, {missing[0]} among them")
    (folder / MARKER).write_text(json.dumps(finished), encoding="utf-8")
    return commit


def _finished(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's marker; empty until its download has finished."""
    marker = folder / MARKER
    if not marker.is_file():
        return {}
    finished: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
    return finished
