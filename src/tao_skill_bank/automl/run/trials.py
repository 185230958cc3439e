"""Turns trials into ordinary jobs, and the metrics in their run directories into scores."""

import itertools
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tao_skill_bank.automl.plan import study
from tao_skill_bank.automl.plan.storage import Entry, Storage, TrialJob, require_sqlite
from tao_skill_bank.automl.plan.study import Study
from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import JobRecord, JobStatus, Plan, Request, State
from tao_skill_bank.core import nested, numbers
from tao_skill_bank.errors import BlockedError, ConflictError, UnknownNameError
from tao_skill_bank.jobs import service
from tao_skill_bank.planning import dispatch, gate
from tao_skill_bank.runs import checkpoint_folders, enclosing, plan_versions, results
from tao_skill_bank.runs.run_directory import RunDirectory, json_lines
from tao_skill_bank.spec.overrides import assignments

MAX_ATTEMPTS = 3  # of a job that ended by an infrastructure failure
UNEXPLAINED_ATTEMPTS = 2  # of one that something killed: the same trial may well be what used up the memory
FOLDER = "trials"
VALIDATION = "val/"  # how the names of what a validation writes begin
TRAIN, EVALUATE = "train", "evaluate"
BASELINE, FINAL = "baseline", "final_evaluation"  # folders of the evaluations before and after the search


@dataclass(frozen=True)
class Look:
    """The current state of a trial's newest job.

    Attributes:
        status: None when the job was never launched.
        scores: score (lower is better) after an epoch.
        found: names of the metrics that were written, for a metric that was not among them.
        validated: whether an epoch was validated, so that every metric name has been written.

    """

    status: JobStatus | None
    scores: Mapping[int, float]
    found: tuple[str, ...] = ()
    validated: bool = False


@dataclass(frozen=True)
class TrialJobs:
    """Launches, follows and stops the jobs of a search's trials.

    Attributes:
        plan: of the search: its request is that of every trial, except for what the trial changes.

    """

    plan: Plan
    study: Study
    storage: Storage

    @property
    def run_dir(self) -> Path:
        return Path(self.plan.job.results_dir)

    @property
    def hours(self) -> str:
        """What the hours of a trial's processes are called: those of GPUs, or of processes on a CPU."""
        return self.plan.job.resources.hours

    def plain(self, score: float | None) -> float | None:
        """Return a score in the metric's own direction."""
        return -score if score is not None and self.study.metric.direction == "maximize" else score

    def shown(self, score: float | None) -> str:
        """Return a score as people read it."""
        return "none" if score is None else f"{self.plain(score):.4g}"

    def folder(self, number: int) -> Path:
        """Return the run directory of a trial."""
        return self.run_dir / FOLDER / f"trial_{number:04d}"

    def train(self, entry: Entry, devices: str | None, *, parent: Path | None = None) -> None:
        """Launch the training of a trial, or resume it, up to its epoch.

        Args:
            entry: the trial.
            devices: GPUs of this machine that it gets, None where the platform decides.
            parent: checkpoint of another trial from which it resumes.

        Raises:
            TaoSkillsError: the trial's spec is refused, what it trained is gone, or the platform refused the job.

        """
        folder = self.folder(entry.number)
        if entry.trial.scores and not (folder / "plan.json").is_file():
            message = f"{folder} is gone, and with it what trial {entry.number} trained."
            raise BlockedError.of(
                "trial_gone", message, "Restore it, or continue with the other trials.", path=str(folder)
            )
        job = TrialJob("", TRAIN, str(folder), _until(entry))
        self._launch(entry, self.train_request(entry, devices, parent), job)

    def evaluate(self, entry: Entry, devices: str | None) -> None:
        """Launch the evaluation that scores a trial at the epoch that it has reached. Raises TaoSkillsError."""
        trained = next(job for job in reversed(entry.jobs) if job.kind == TRAIN)
        folder = freed(self.folder(entry.number) / f"evaluation_{_until(entry) or 'last'}")
        action = str(self.study.metric.action)
        self._launch(
            entry,
            evaluation_request(self.plan, action, str(folder), trained.id, devices),
            TrialJob("", EVALUATE, str(folder), _until(entry)),
        )

    def look(self, entry: Entry) -> Look:
        """Query the newest job of a trial and read the scores that it wrote."""
        look = self._scores(entry)
        if not entry.jobs:
            return look
        try:
            return replace(look, status=service.status(entry.jobs[-1].id))
        except UnknownNameError:  # killed between its name and its launch
            return look

    def cancel(self, entry: Entry) -> None:
        """Stop the newest job of a trial; its training saves itself."""
        status = self.look(entry).status
        if status is not None and not status.state.is_terminal:
            with suppress(ConflictError):  # it has ended meanwhile
                service.cancel(status.id)

    def clear(self, entry: Entry) -> None:
        """Stop processes that an ended job of a trial left running: another trial gets its GPU."""
        with suppress(ConflictError):  # how a job that had ended is cancelled
            service.cancel(entry.jobs[-1].id)

    def spent(self, entry: Entry) -> tuple[float, float]:
        """Return the seconds of a trial's jobs, and the same in hours of one GPU (of one process on a CPU)."""
        seconds = gpu_hours = 0.0
        for job in entry.jobs:
            try:
                record = service.JobStore().read(job.id)
            except UnknownNameError:
                continue
            taken = _seconds(record)
            seconds += taken
            gpu_hours += taken / 3600 * self.plan.job.resources.world_size
        return seconds, gpu_hours

    def _launch(self, entry: Entry, request: Request, job: TrialJob) -> None:
        sealed = dispatch.plan(request, compares_resumed=False)
        gate.raise_if_blocked([found for found in sealed.findings if found.blocks_run])
        self.storage.add_job(entry.number, replace(job, id=sealed.job.id))
        dispatch.run(sealed)

    def train_request(self, entry: Entry, devices: str | None, parent: Path | None = None) -> Request:
        """Return the request that trains a trial, or resumes it, up to its epoch."""
        keys, request = self.study.keys, self.plan.request
        skill = catalog.find(request.skill)
        own = dict(assignments(request.overrides, skill.schema(request.action)))
        for path in skill.action(request.action).results_keys:
            own.pop(path, None)
        if self.study.rungs:
            own[keys.epochs] = self.study.max_epochs
        own |= entry.values
        if (until := _until(entry)) is not None and keys.stop:
            own[keys.stop] = until
        folder = self.folder(entry.number)
        if keys.resume and (folder / "plan.json").is_file():
            own[keys.resume] = True
        elif keys.resume and parent is not None:
            own[keys.resume] = str(parent)
        return replace(
            request,
            prompt="",
            automl={enclosing.SEARCH: self.plan.job.id},
            automl_policy="off",
            overrides=own,
            results_dir=str(folder),
            platform=_on(request, devices),
        )

    def validated(self, folder: Path) -> Look:
        """Read the scores that a training wrote into its run directory."""
        sign = -1 if self.study.metric.direction == "maximize" else 1
        scores: dict[int, float] = {}
        found: set[str] = set()
        validated = False
        for line in json_lines(RunDirectory(folder).metrics_file):
            found |= {name for name in line if "/" in name}
            value, epoch = numbers.finite(line.get(self.study.metric.name)), numbers.finite(line.get("epoch"))
            if epoch is None:
                continue
            if value is not None:
                scores[max(1, math.ceil(epoch - 1e-6))] = sign * value
            validated |= epoch >= 1 and any(name.startswith(VALIDATION) for name in line)
        return Look(None, scores, tuple(sorted(found)), validated)

    def _scores(self, entry: Entry) -> Look:
        if self.study.metric.action is not None:
            return self._evaluated(entry, -1 if self.study.metric.direction == "maximize" else 1)
        return self.validated(self.folder(entry.number))

    def _evaluated(self, entry: Entry, sign: int) -> Look:
        scores = dict(entry.trial.scores)
        found: tuple[str, ...] = ()
        for job in entry.jobs:
            if job.kind == EVALUATE:
                metrics = results.read(RunDirectory(Path(job.results_dir))).metrics
                found = tuple(sorted(metrics))
                value = metrics.get(self.study.metric.name)
                if value is not None:
                    scores[job.until or self.study.last_epoch(entry.values)] = sign * value
        return Look(None, scores, found)


def freed(folder: Path) -> Path:
    """Move what an earlier attempt left in a folder aside, and return the folder."""
    if folder.exists():
        candidates = itertools.count(1)
        folder.rename(next(aside for number in candidates if not (aside := Path(f"{folder}_{number}")).exists()))
    return folder


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint from which another trial may resume."""
    return checkpoint_folders.newest(folder / "checkpoints")


def evaluation_request(
    plan: Plan, action: str, results_dir: str, parent_job_id: str | None, devices: str | None = None
) -> Request:
    """Return the request that evaluates a training, or without one the model that the search starts from."""
    request = plan.request
    overrides: dict[str, Any] = {}
    if parent_job_id is None:
        skill = catalog.find(request.skill)
        here, there = skill.action(action), skill.action(request.action)
        overrides = {
            path: value
            for path, source in here.parent.copies.items()
            if (value := nested.get(plan.job.spec, source)) is not None
        }
        overrides[here.inputs.models[0]] = nested.get(plan.job.spec, there.inputs.models[0])
    return Request(
        skill=request.skill,
        action=action,
        datasets={role: data for role, data in request.datasets.items() if role == "eval"},
        overrides=overrides,
        platform=_on(request, devices),
        results_dir=results_dir,
        parent_job_id=parent_job_id,
        image=request.image,
        automl={enclosing.SEARCH: plan.job.id},
    )


def failure(status: JobStatus) -> str:
    """Return why a job ended, in the words of its trainer where it has any."""
    return status.message or f"The job ended as {status.state}."


def has_succeeded(status: JobStatus) -> bool:
    """Return whether a job's program succeeded although its launcher was killed."""
    return status.state is State.ERROR and status.progress.get("state") == "SUCCESS"


def may_retry(entry: Entry, status: JobStatus) -> bool:
    """Return whether the job ended by an infrastructure failure, so that it is worth another attempt."""
    attempts = sum(job.kind == entry.jobs[-1].kind and job.until == entry.jobs[-1].until for job in entry.jobs)
    most = UNEXPLAINED_ATTEMPTS if status.is_unexplained else MAX_ATTEMPTS
    return status.state is State.ERROR and status.err_class == "ERR_INFRA" and attempts < most


def _until(entry: Entry) -> int | None:
    return entry.trial.until


def _on(request: Request, devices: str | None) -> Any:
    if devices is None:
        return request.platform
    return replace(request.platform, options={**request.platform.options, "devices": devices})


def _seconds(record: JobRecord) -> float:
    moments = [datetime.fromisoformat(moved.ts) for moved in record.transitions]
    ended = moments[-1] if record.terminal_state is not None else datetime.now(moments[0].tzinfo)
    return (ended - moments[0]).total_seconds()


def open_search(run_dir: Path) -> TrialJobs:
    """Return the trials of the search in a run directory, with a study that is new at first. Raises TaoSkillsError."""
    plan: Plan = plan_versions.read_launched(run_dir / "plan.json", sealed=True)
    sealed = study.of_plan(plan)
    if sealed.options.storage is None and (run_dir / FOLDER).is_dir():
        require_sqlite(run_dir)
    storage = Storage(
        sealed.storage_url(run_dir),
        sealed.name,
        maximize=sealed.metric.direction == "maximize",
        space=sealed.space,
        with_cost="cost" in sealed.options.objectives,
    )
    return TrialJobs(plan, sealed, storage)
