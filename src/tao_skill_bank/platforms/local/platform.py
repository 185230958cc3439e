"""This machine: a detached process group that outlives its launcher, identified by process id and start time."""

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from tao_skill_bank.contracts import Finding, Job, JobRecord, JobStatus, Launch, Plan, State
from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError, ConflictError
from tao_skill_bank.platforms import machines, memory_kills, processes, run_files
from tao_skill_bank.platforms.local import probe as local_probe
from tao_skill_bank.platforms.local import render as local_render
from tao_skill_bank.runs import fencing, writer_lock
from tao_skill_bank.runs.run_directory import RunDirectory, write_whole

DEFAULT_GRACE_SECONDS = 120.0  # a training finishes its step and saves itself
RESTARTED = "Its machine was restarted while it ran."


@dataclass(frozen=True)
class Local:
    """Runs a job as processes of this machine."""

    name: str = "local"
    one_machine: bool = True
    number_options: tuple[str, ...] = ("grace_seconds",)
    text_options: tuple[str, ...] = ("devices",)
    host_key: str | None = "host"

    def runs_here(self, options: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the protocol names it
        """Local jobs always do."""
        return True

    def uses_image(self, options: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the protocol names it
        """Processes of this machine need no image."""
        return False

    def shares(self, path: str, options: Mapping[str, Any]) -> bool | None:  # noqa: ARG002 - the protocol names them
        """Its files are those of this machine."""
        return True

    def interpreter(self, options: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - the protocol names it
        """Jobs start with the Python that plans them."""
        return sys.executable

    def probe(self, job: Job) -> list[Finding]:
        """Report what this machine lacks to run `job`."""
        return local_probe.findings(job)

    def render(self, plan: Plan) -> Launch:
        """Return launch.sh and the command that runs it."""
        return local_render.launch(plan)

    def submit(self, plan: Plan) -> dict[str, str | int | float]:
        """Start launch.sh in a session of its own, which inherits the lock of the run directory.

        Raises:
            ConflictError: a process of another job still writes there.
            BackendError: the process could not be started.

        """
        run = RunDirectory(Path(plan.job.results_dir))
        environment = settings.child_environment(**{processes.JOB_VARIABLE: plan.job.id})
        kills = memory_kills.counted_now()
        try:
            run.log_file.parent.mkdir(parents=True, exist_ok=True)
            with closing(writer_lock.take(run.path)) as lock:
                if not lock.is_real:
                    _require_no_processes(run)
                process = processes.spawn(plan.argv, environment, str(run.log_file), lock.descriptor)
            start_time = process.create_time()
        except (OSError, psutil.Error) as error:
            message = f"The job's process could not be started: {error}"
            fix = f"See that {plan.argv[0]} is installed and {run.path} is writable, then run the plan again."
            raise BackendError.of("local_start_failed", message, fix, path=str(run.path)) from None
        grace_seconds = float(plan.job.platform.options.get("grace_seconds", DEFAULT_GRACE_SECONDS))
        return {
            "pid": process.pid,
            "start_time": start_time,
            "host": machines.here(),
            "grace_seconds": grace_seconds,
            **kills,
        }

    def status(self, record: JobRecord) -> JobStatus:
        """Answer from the processes, then from the exit code that they recorded."""
        run = RunDirectory.of(record.results_dir, record.id)
        elsewhere = _elsewhere(record)
        is_here = elsewhere is None
        live = is_here and _leader(record) is not None
        exit_code = run.exit_code()  # read after the look at the process: it is written before the process ends
        progress = run.last_status()
        orphans = [] if live or not is_here else processes.of_job(record.id)
        if live or (orphans and exit_code is None):
            state = State.RUNNING if progress else State.PENDING
            return JobStatus(record.id, state, str(progress.get("message") or run_files.STARTING), progress=progress)
        if exit_code is None and not (is_here and "pid" in record.backend_ref):
            if elsewhere is not None:
                return machines.unknown(record, elsewhere, progress)
            return JobStatus(record.id, State.UNKNOWN, "It has no process here.", progress=progress)
        was_restarted = float(record.backend_ref.get("start_time", math.inf)) < psutil.boot_time()
        lost = RESTARTED if was_restarted and exit_code is None else ""
        status = run_files.ended(record, exit_code, progress, was_cancelled=run.cancel_file.exists(), lost=lost)
        return _with_orphans(status, orphans)

    def logs(self, record: JobRecord, *, follow: bool) -> Iterator[str]:
        """Yield the text of logs/job.log."""
        path = RunDirectory.of(record.results_dir, record.id).log_file
        return run_files.log_text(path, lambda: self.status(record).state.is_terminal, follow=follow)

    def cancel(self, record: JobRecord) -> None:
        """Stop the job's processes, orphans of an ended job included.

        Raises:
            BackendError: the job runs on another machine, or its processes could not be stopped.

        """
        run = RunDirectory.of(record.results_dir, record.id)
        if elsewhere := _elsewhere(record):
            message, fix = machines.message(record, elsewhere), machines.fix(record, elsewhere, "cancel")
            raise BackendError.of("other_host", message, fix, path=record.id)
        leader = _leader(record)
        if leader is None and not processes.of_job(record.id):
            return
        with suppress(OSError):  # a full disk must not keep a job alive
            write_whole(run.cancel_file, "")
        grace_seconds = float(record.backend_ref.get("grace_seconds", DEFAULT_GRACE_SECONDS))
        processes.stop(record.id, leader, grace_seconds)
        if left := processes.of_job(record.id):
            numbers = ", ".join(str(process.pid) for process in left)
            message = f"Processes of job {record.id} could not be stopped: {numbers}"
            raise BackendError.of("local_stop_failed", message, f"As their owner: kill -9 {numbers}", path=record.id)

    def avoiding(self, record: JobRecord, job: Job) -> dict[str, str]:  # noqa: ARG002 - the protocol names them
        """It is one machine: there is no other."""
        return {}


def _elsewhere(record: JobRecord) -> str | None:
    """Return the other machine of a job; None for one of this machine, also where it has been renamed meanwhile."""
    machine = machines.other(record, PLATFORM.host_key)
    return None if machine is not None and processes.of_job(record.id) else machine


def _require_no_processes(run: RunDirectory) -> None:
    """Refuse a run directory whose last writer left processes, where no lock says so. Raises ConflictError."""
    before = fencing.holder(run.path).get("job_id")
    if before and (left := processes.of_job(before)):
        numbers = ", ".join(str(process.pid) for process in left)
        message = f"Processes of job {before} are left and may write into {run.path}: {numbers}."
        fix = f"Stop them: tao-skills cancel {before}"
        raise ConflictError.of("results_dir_in_use", message, fix, path="results_dir")


def _leader(record: JobRecord) -> psutil.Process | None:
    pid, start_time = record.backend_ref.get("pid"), record.backend_ref.get("start_time")
    return None if pid is None or start_time is None else processes.find(int(pid), float(start_time))


def _with_orphans(status: JobStatus, orphans: list[psutil.Process]) -> JobStatus:
    if not orphans:
        return status
    numbers = ", ".join(str(process.pid) for process in orphans)
    message = f"{status.message} Processes {numbers} are left; tao-skills cancel {status.id} stops them."
    return replace(status, message=message)


PLATFORM = Local()
