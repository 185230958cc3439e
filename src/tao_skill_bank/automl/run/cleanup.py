"""Frees the disk once a search has ended: the checkpoints of trials that nothing resumes from or reads any more."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.plan.storage import Entry
from tao_skill_bank.automl.run.trials import TrialJobs
from tao_skill_bank.contracts import JobRecord
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.runs import checkpoint_folders
from tao_skill_bank.runs.run_directory import RunDirectory, masked_json, write_whole

KEPT_OF_BEST = "best_score.json"  # of a trial's best/: results and reports read it


def remove_unused(trials: TrialJobs, entries: Sequence[Entry], best: Entry) -> int:
    """Remove the checkpoints of trials that are neither the best, nor paused, nor any job's parent; return how many.

    Only searches whose plan says so: those that were planned by an earlier release keep all. Metrics, logs and results
    stay, and a note in the trial's folder says why its checkpoints are gone.
    """
    if trials.study.options.keep_trials != "best":
        return 0
    kept = {best.number, *_paused(trials, entries), *_parents(trials, entries)}
    unused = [entry for entry in entries if entry.number not in kept]
    return sum(_remove(trials.folder(entry.number), best.number) for entry in unused)


def _paused(trials: TrialJobs, entries: Sequence[Entry]) -> Iterator[int]:
    """Yield trials that waited at a rung when the search ended: they were neither rejected nor stopped."""
    for entry in entries:
        waited = entry.state is TrialState.PRUNED and not entry.diagnosis
        if entry.state is TrialState.PAUSED or (trials.study.rungs and waited):
            yield entry.number


def _parents(trials: TrialJobs, entries: Sequence[Entry]) -> Iterator[int]:
    """Yield trials from which another trial, or a job outside of the search, starts."""
    yield from (entry.trial.parent for entry in entries if entry.trial.parent is not None)
    outside = [record for record in JobStore().all() if not _is_below(record.results_dir, trials.run_dir)]
    named = {record.parent_job for record in outside}
    read = [path for record in outside if record.terminal_state is None for path in _paths(record)]
    for entry in entries:
        folder = trials.folder(entry.number)
        if named & {job.id for job in entry.jobs} or any(_is_below(path, folder) for path in read):
            yield entry.number


def _paths(record: JobRecord) -> Iterator[str]:
    """Yield the checkpoints that an unfinished job reads."""
    workload = (RunDirectory.of(record.results_dir, record.id).plan_document().get("job") or {}).get("workload") or {}
    names = (workload.get(name) for name in ("model", "base_model", "resume_from"))
    yield from (name for name in names if isinstance(name, str) and "://" not in name and name)


def _is_below(path: str, folder: Path) -> bool:
    return Path(path).resolve().is_relative_to(folder.resolve())


def _remove(folder: Path, best: int) -> int:
    found = [path for kind in ("checkpoints", "safetensors") for path in checkpoint_folders.all_in(folder / kind)]
    weights = [path for path in (folder / "best").glob("*") if path.name != KEPT_OF_BEST]
    if not found and not weights:
        return 0
    note = f"The search ended with trial {best} as its best, and removed the checkpoints of this one."
    with suppress(OSError):  # the note is a courtesy
        write_whole(folder / checkpoint_folders.REMOVED_FILE, masked_json({"reason": note}))
    for path in (*found, *weights):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)
