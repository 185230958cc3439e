"""Turns a model URI into a local folder: `python -m tao_skill_bank.training.fetch URI OUT_DIR` prints the folder.

builtin://NAME          a tiny model, created by the model package with `builtin/NAME`
hf_model://ORG/NAME[@REVISION], ORG/NAME   a download from the Hugging Face Hub
s3://, gs://, hf://datasets/...   a file or folder of an object store (tao_skill_bank.staging)

The folder appears when it is complete; an existing one is reused. A download that was killed resumes with the
incomplete files, and after a dropped connection a file resumes where it stopped. Where the Hub cannot be reached, a
model that is complete in the Hugging Face cache is used.
"""

import argparse
import importlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from tao_skill_bank.core import file_locks, lifeline, settings, unfinished
from tao_skill_bank.core.redact import mask_output
from tao_skill_bank.errors import BlockedError, TaoSkillsError, UnknownNameError
from tao_skill_bank.runs.status_log import Diagnosis, StatusWriter
from tao_skill_bank.staging import hub_errors, places
from tao_skill_bank.weights import model_uri
from tao_skill_bank.weights.model_folders import is_complete, is_model_folder
from tao_skill_bank.weights.model_uri import BUILTIN, HUB

EXIT_CANCELED = 128 + signal.SIGTERM
logger = logging.getLogger(__name__)


class Ranks(Protocol):
    """The processes of one job, as far as fetching a model concerns them."""

    @property
    def is_main(self) -> bool: ...

    def barrier(self) -> None: ...


def to_cache(uri: str) -> Path:
    """Return the URI's folder (model_uri.local_folder), created or downloaded when it does not exist.

    Raises:
        UnknownNameError: the URI names no path, builtin model or Hub model.
        BlockedError, BackendError: see `fetch`.

    """
    name = model_uri.normalise(uri)
    if not model_uri.is_remote(name):
        message = f"{uri} is neither a folder nor a model URI."
        raise UnknownNameError.of("unknown_model", message, "Give a folder, hf_model://ORG/NAME or builtin://NAME.")
    return fetch(name, model_uri.local_folder(name))


def for_all_ranks(uri: str, ranks: Ranks) -> Path:
    """Return the folder of a path or URI; rank 0 creates or downloads it. Raises like `to_cache`."""
    if Path(uri).is_dir():
        return Path(uri).absolute()
    if ranks.is_main:
        to_cache(uri)
    ranks.barrier()
    return to_cache(uri)


def fetch(uri: str, out_dir: Path) -> Path:
    """Create, download or stage the model into `out_dir` and return it.

    Raises:
        UnknownNameError: there is no such model or revision.
        BlockedError: the Hub refuses access, or the machine is configured to stay offline.
        BackendError: the Hub cannot be reached.

    """
    if places.is_remote(uri):
        from tao_skill_bank.staging import inputs

        return inputs.stage(uri, out_dir, _progress_callback(out_dir)).path
    if is_model_folder(out_dir):
        return out_dir
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    part = _part(out_dir)
    with _locked(part):  # one process works, the others wait for what it makes
        if is_model_folder(out_dir):
            shutil.rmtree(part, ignore_errors=True)
        elif uri.startswith(BUILTIN):
            _create(uri.removeprefix(BUILTIN), part, out_dir)
        else:
            _download_into(part, uri.removeprefix(HUB), out_dir)
    return out_dir


def _part(out_dir: Path) -> Path:
    """Return the folder in which a model is made: the next process uses what a killed one left there."""
    return out_dir.parent / f".{out_dir.name}.part"


def _create(name: str, part: Path, out_dir: Path) -> None:
    """Create an embedded model from nothing, and leave nothing where that fails."""
    for left in part.iterdir():
        unfinished.remove(left)
    try:
        _make_builtin(name, part)
        _publish(part, out_dir)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _download_into(part: Path, name: str, out_dir: Path) -> None:
    """Download a model; where that fails, the next process resumes with the files that are complete."""
    for left in part.rglob("*.incomplete"):  # by a killed process: the client would restart such a file
        left.unlink()
    try:
        _download(name, part)
        _publish(part, out_dir)
    except TaoSkillsError:
        if not any(path.is_file() for path in part.glob("*")):
            shutil.rmtree(part, ignore_errors=True)
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create a folder and lock it for this process, waiting for other holders."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            with file_locks.exclusive(descriptor, folder):
                if folder.exists() and folder.stat().st_ino == os.fstat(descriptor).st_ino:  # else it was published
                    yield
                    return
        finally:
            os.close(descriptor)


def _progress_callback(path: Path) -> Callable[[str], None]:
    """Return a progress callback that writes to the log and, for a job's input, to the job's status."""
    status = _status_of(path)

    def report(line: str) -> None:
        logger.info("%s", line)
        if status is not None:
            status.phase(line)

    return report


def _status_of(path: Path) -> StatusWriter | None:
    """Return the status of the job that fetches: of the run directory that holds an input, or of the current folder."""
    run_dir = path.parents[1] if path.parent.name == places.INPUTS else Path.cwd() if settings.job_id() else None
    return StatusWriter(run_dir) if run_dir is not None and (run_dir / "plan.json").is_file() else None


def _task(uri: str) -> str:
    if places.is_remote(uri):
        return f"staging {uri}"
    return f"creating the model {uri}" if uri.startswith(BUILTIN) else f"downloading the model {uri}"


def _publish(work: Path, out_dir: Path) -> None:
    if out_dir.is_dir() and not any(out_dir.iterdir()):
        out_dir.rmdir()
    try:
        work.rename(out_dir)
    except OSError:
        if not is_model_folder(out_dir):  # else another process finished first
            message = f"{out_dir} exists and is not a complete model folder."
            raise BlockedError.of("folder_in_use", message, "Give a new folder or remove it.") from None


def _make_builtin(name: str, folder: Path) -> None:
    package = model_uri.builtin_packages().get(name)
    if package is None:
        fix = f"Use one of: {', '.join(model_uri.builtin_names())}."
        raise UnknownNameError.of("unknown_builtin", f"There is no builtin model '{name}'.", fix)
    importlib.import_module(f"tao_skill_bank.models.{package}.builtin").create(name, folder)


def _download(name: str, folder: Path) -> None:
    import huggingface_hub

    repository, _, revision = name.partition("@")
    try:
        huggingface_hub.snapshot_download(repository, revision=revision or None, local_dir=folder)
    except hub_errors.client_errors() as error:
        explained = hub_errors.explain(error, repository, revision)
        if not hub_errors.is_unreachable(explained) or not _copy_cached(repository, revision, folder):
            raise explained from None
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _copy_cached(repository: str, revision: str, folder: Path) -> bool:
    """Fill `folder` from the Hugging Face cache; return whether the model is complete there."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        cached = Path(huggingface_hub.snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (errors.LocalEntryNotFoundError, OSError):
        return False
    if not is_complete(cached):
        return False
    shutil.copytree(cached, folder, copy_function=link, dirs_exist_ok=True)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    logger.info("%s is loaded from the cache: %s", repository, cached)
    return True


def link(source: str | Path, target: str | Path) -> str | Path:
    """Make `target` the same file as `source`, which may be a symbolic link into the cache's blobs."""
    try:
        Path(target).hardlink_to(Path(source).resolve())
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uri")
    parser.add_argument("out_dir", type=Path)
    arguments = parser.parse_args()
    mask_output()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    out_dir = arguments.out_dir.absolute()

    def cancel(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        if arguments.uri.startswith(BUILTIN):  # a download is resumed
            unfinished.remove(_part(out_dir))
        os._exit(EXIT_CANCELED)  # a plain exit would wait for the download threads

    signal.signal(signal.SIGTERM, cancel)
    lifeline.end_with_starter(signal.SIGTERM)
    status = _status_of(out_dir)
    try:
        if status and not is_model_folder(out_dir):
            status.phase(_task(arguments.uri))
        folder = fetch(arguments.uri, out_dir)
        if status:
            status.phase("starting the program")
    except TaoSkillsError as error:
        problem = error.problems[0]
        if status:
            status.write("FAILURE", str(error), diagnosis=Diagnosis.of(problem))
        sys.stderr.write(f"error: {problem.message} Fix: {problem.fix}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
