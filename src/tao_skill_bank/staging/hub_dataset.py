"""Makes a dataset's name a local folder: hf_dataset://ORG/NAME[@REVISION] is downloaded, a folder is itself."""

import json
import logging
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tao_skill_bank.core import settings
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.staging import hub_errors

SCHEME = "hf_dataset://"
MARKER = ".download.json"  # the revision that lies in a folder, and which of its files
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a dataset lies; `revision` is the commit it was downloaded at, empty for a folder of the user."""

    folder: Path
    revision: str = ""


def locate(name: str, patterns: tuple[str, ...] = ()) -> Source:
    """Return the folder of a dataset, downloaded to $TAO_STATE_DIR/datasets when it is on the Hub.

    A download that was cut goes on where it stopped. Without a connection a finished one is taken as it is.

    Args:
        name: hf_dataset://ORG/NAME[@REVISION], or a folder.
        patterns: the only files that are downloaded; all by default.

    Raises:
        UnknownNameError: there is no such folder, dataset or revision.
        BlockedError: the Hub refuses access, or is switched off.
        BackendError: the Hub cannot be reached.

    """
    if not name.startswith(SCHEME):
        folder = Path(name).expanduser().absolute()
        if not folder.is_dir():
            message = f"Dataset folder {folder} does not exist."
            raise UnknownNameError.of("unknown_dataset", message, f"Give a folder, or {SCHEME}ORG/NAME.")
        return Source(folder)
    repository, _, revision = name.removeprefix(SCHEME).partition("@")
    folder = settings.state_dir() / "datasets" / re.sub(r"[^\w.@-]+", "--", name.removeprefix(SCHEME))
    return Source(folder, _download(repository, revision, folder, patterns))


def _download(repository: str, revision: str, folder: Path, patterns: tuple[str, ...]) -> str:
    """Bring a folder to a revision's state and return its commit."""
    try:
        return _snapshot(repository, revision, folder, patterns)
    except hub_errors.client_errors() as error:
        explained = hub_errors.explain(error, repository, revision, "dataset")
        earlier = _finished(folder)
        if not hub_errors.is_away(explained) or earlier.get("patterns") != list(patterns):
            raise explained from None
    logger.info("The Hub was not reached; %s is taken from %s", repository, folder)
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
        message = f"The dataset {repository} holds no {', '.join(patterns) or 'files'}."
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
    if missing:  # the client returns a folder as it is when the connection breaks at the wrong moment
        raise OSError(f"{len(missing)} files are missing, {missing[0]} among them")
    (folder / MARKER).write_text(json.dumps(finished), encoding="utf-8")
    return commit


def _finished(folder: Path) -> dict[str, Any]:
    """Return what a folder's marker says; nothing while its download is not finished."""
    marker = folder / MARKER
    if not marker.is_file():
        return {}
    finished: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
    return finished
